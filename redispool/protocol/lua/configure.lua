-- Guarantees: the pool's policy has these values from now on, for every host; those not named stay as they were.
-- Returns {the policy, as JSON}.
-- ARGV[3] JSON: name -> value, or false for none
--@include administer
need_extras()
local news = false
for name, value in pairs(cjson.decode(ARGV[3])) do
  news = news or policy[name] ~= (value or nil)
  policy[name] = value or nil
end
if news then record_event('configured', '', caller, 0, ARGV[3]) end
local text = next(policy) and cjson.encode(policy) or ''
if text == '' then redis.call('HDEL', META, 'policy') else redis.call('HSET', META, 'version', ARGV[1], 'policy', text) end
return {text}
