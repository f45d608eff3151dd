-- Guarantees: the pool has no accounts, leases or waiters; its fences go on from where they were. Bounded: call it until 0 is left.
-- Returns {what is left}.
-- ARGV[3] '1': the pool is to leave no trace, its fences neither
--@include members
dismiss(QUEUE, 'empty')
for _, name in ipairs(redis.call('LRANGE', MEMBERS, 0, 499)) do
  local record = redis.call('HGET', ACCOUNTS, name)
  withdraw(name)
  for number = 1, record and sessions_of(record) or 0 do redis.call('ZREM', COOLING, seat_of(name, tostring(number))) end
  dismiss(queue_of(name), 'empty')
  redis.call('HDEL', ACCOUNTS, name)
end
redis.call('LTRIM', MEMBERS, 500, -1)
for _, token in ipairs(redis.call('ZRANGE', LEASES, 0, 499)) do give_back(token, 0) end
local left = redis.call('LLEN', MEMBERS) + redis.call('ZCARD', LEASES)
if left == 0 then
  redis.call('DEL', ROTATION, PLACES, HASHES, HELD, COOLING, SURPLUS, QUEUE, REQUESTS)
  redis.call('HSET', META, 'version', ARGV[1], 'free', 0)
  if ARGV[3] == '1' then redis.call('DEL', META) end
end
return {left}
