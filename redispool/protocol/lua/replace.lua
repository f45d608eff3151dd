-- Guarantees: the account has the new record and name, if nobody changed it since it was read; its seats and its turn stay as they are.
-- Returns {'done'} | {'exists'} | {'unknown'} | {'changed'} | {'again'}: more had expired than one call reclaims; send it again
-- | {'sealed', the keys that there are}: the caller lacks one.
-- ARGV[3] name, [4] hash, [5] record as read, [6] new name, [7] new hash, [8] new record
--@include members
--@include sealing
--@include administer
local name, hash, expected, new_name, new_hash, new_record = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
if call('HGET', ACCOUNTS, new_name) == new_record and (name == new_name or call('HEXISTS', ACCOUNTS, name) == 0) then
  return {'done'} -- by an earlier send
end
if reclaim() then return {'again'} end
local record = call('HGET', ACCOUNTS, name)
if not record then return {'unknown'} end
if record ~= expected then return {'changed'} end
if name ~= new_name and call('HEXISTS', ACCOUNTS, new_name) == 1 then return {'exists'} end
if not may_seal() then return {'sealed', sealed} end
if name == new_name then
  call('HSET', ACCOUNTS, name, new_record)
  record_change('changed', {name})
  return {'done'}
end


local function set_in_list(list, rank)
  local index = call('LPOS', list, name, 'RANK', rank)
  if index then call('LSET', list, index, new_name) end
end
local surplus = surplus_of(name)
local highest = math.max(sessions_of(record), surplus, 1)
for number = 1, highest do -- an account that was removed is there until its holder releases it
  if call('EXISTS', LOCK .. seat_of(new_name, tostring(number))) == 1 then return {'exists'} end
end
for number = 1, highest do move_seat(seat_of(name, tostring(number)), seat_of(new_name, tostring(number))) end
local function move_field(hash_key, field, new_field)
  local value = call('HGET', hash_key, field)
  call('HDEL', hash_key, field)
  if value then call('HSET', hash_key, new_field, value) end
end
if extras then
  for _, index in ipairs({SURPLUS, QUARANTINE, REST}) do move_field(index, name, new_name) end
  if call('SREM', RESERVED, name) == 1 then call('SADD', RESERVED, new_name) end
  for _, what in ipairs({'failures:', 'uses:'}) do move_field(HEALTH, what .. name, what .. new_name) end
end
if call('EXISTS', IDLE .. name) == 1 then call('RENAME', IDLE .. name, IDLE .. new_name) end
local places = places_of('', name, 1)
if places > 0 then -- its turn passes to the new name, of which stale entries may be left from before
  set_in_list(ROTATION, -1)
  local stale = -places_of('', new_name)
  call('HSET', PLACES, new_name, stale + 1)
  if places > 1 then call('HSET', PLACES, name, 1 - places) end
end
if places == 0 or places == 1 then call('HDEL', PLACES, name) end
for _, choice in ipairs(choices_of(record)) do -- there its turn comes at the end
  leave(choice, name)
  call('SREM', CARRIERS .. choice, name)
  call('SADD', CARRIERS .. choice, new_name)
  if places > 0 then join(choice, new_name) end
end
set_in_list(MEMBERS, 1)
call('HDEL', ACCOUNTS, name)
call('HDEL', HASHES, hash)
call('HSET', ACCOUNTS, new_name, new_record)
call('HSET', HASHES, new_hash, new_name)
dismiss(queue_of(name), 'unknown')
record_change('renamed', {new_name}, 'it was ' .. name)
return {'done'}
