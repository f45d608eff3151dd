-- Guarantees: each account named is a member once, with this record; a new seat goes to the first waiter or to the rotation.
-- Returns {accounts that were new} | {'again'}: more had expired than one call reclaims; send it again
-- | {'sealed', the keys that there are}: the caller lacks one | {'wrongtype', key, wanted, found}: a lock is no string.
-- ARGV[3...] for each account: name, hash, record
--@include members
--@include sealing
--@include administer
if reclaim() then return {'again'} end
if not may_seal() then return {'sealed', sealed} end
for i = 3, #ARGV, 3 do
  for number = 1, math.max(sessions_of(ARGV[i + 2]), 1) do
    local lock = LOCK .. seat_of(ARGV[i], tostring(number))
    local kind = call('TYPE', lock).ok
    if kind ~= 'none' and kind ~= 'string' then return {'wrongtype', lock, 'string', kind} end
  end
end
write_version()
local function head_of(record) return string.match(record, '^[^\n]*') end

local added, changed = {}, {}
for i = 3, #ARGV, 3 do
  local name, hash, record = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local old = call('HGET', ACCOUNTS, name)
  if old and old ~= record then changed[#changed + 1] = name end
  if not old then
    call('HSET', ACCOUNTS, name, record)
    call('RPUSH', MEMBERS, name)
    call('HSET', HASHES, hash, name)
    circulate(name, record)
    added[#added + 1] = name
  elseif head_of(old) == head_of(record) then
    call('HSET', ACCOUNTS, name, record)
  else
    retire(name, old)
    call('HSET', ACCOUNTS, name, record)
    circulate(name, record)
    for _, choice in ipairs(choices_of(old)) do wake_hopeless(queue_of(choice)) end -- it may have been the last with a label
  end
end
record_change('added', added)
record_change('changed', changed)
return {#added}
