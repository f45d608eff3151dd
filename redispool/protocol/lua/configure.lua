-- Guarantees: the pool's policy has these values from now on, for every host; those not named stay as they were.
-- Returns {the policy, as JSON} | {'unlisted'}: to limit what an owner has, it must be known first, see enlist.lua; nothing has changed.
-- ARGV[3] JSON: name -> value, or false for none
--@include leases
--@include administer
local given, changed = cjson.decode(ARGV[3]), false
if given.max_per_owner and by_owner ~= 'all' then
  if call('EXISTS', LEASES) == 1 then return {'unlisted'} end
  by_owner = 'all' -- there is none to list
  call('HSET', META, 'owners', by_owner)
end
need_extras()
for name, value in pairs(given) do
  value = value or nil
  changed = changed or policy[name] ~= value
  policy[name] = value
end
if changed then record_event('configured', '', caller, 0, ARGV[3]) end
local text = next(policy) and cjson.encode(policy) or ''
if text == '' then call('HDEL', META, 'policy') else call('HSET', META, 'policy', text) end
if not changed then return {text} end

local latest = clock[1] * 1000000 + clock[2] + (policy.pace or 0) -- a pause that was longer is over by then
local next_at = tonumber(call('HGET', META, 'next_at') or 0)
if next_at > latest then call('HSET', META, 'next_at', whole(latest)) end
reclaim()
-- those who wait may have by the new rules what they could not by the old ones; a crowd beyond the bound asks at its next slice
local waiting = call('HSCAN', REQUESTS, '0', 'COUNT', CROWD)[2]
for i = 1, #waiting, 2 do wake(request_of(waiting[i])) end
return {text}
