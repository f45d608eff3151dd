-- Guarantees: each account named is a member once, with this record; a new seat goes to the first waiter or to the rotation.
-- Returns {accounts that were new} | {'again'}: more had expired than one call reclaims; send it again.
-- ARGV[3...] for each account: name, hash, record
--@include members
if reclaim() then return {'again'} end
redis.call('HSET', META, 'version', ARGV[1])
local function head_of(record) return string.match(record, '^[^\n]*') end

local added = 0
for i = 3, #ARGV, 3 do
  local name, hash, record = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local old = redis.call('HGET', ACCOUNTS, name)
  if not old then
    redis.call('HSET', ACCOUNTS, name, record)
    redis.call('RPUSH', MEMBERS, name)
    redis.call('HSET', HASHES, hash, name)
    circulate(name, record)
    added = added + 1
  elseif head_of(old) == head_of(record) then
    redis.call('HSET', ACCOUNTS, name, record)
  else
    retire(name, old)
    redis.call('HSET', ACCOUNTS, name, record)
    local highest = math.max(sessions_of(old), tonumber(redis.call('HGET', SURPLUS, name) or 0))
    if highest > sessions_of(record) then
      need_extras()
      redis.call('HSET', SURPLUS, name, highest)
    end
    circulate(name, record)
  end
end
return {added}
