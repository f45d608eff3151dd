-- Guarantees: the pool has no accounts, leases or waiters; its fences go on from where they were. Bounded: call it until 0 is left.
-- Returns {what is left}.
-- ARGV[3] '1': the pool is to leave no trace, its fences neither
--@include members
--@include administer
local function known_choices()
  local known = {}
  for _, field in ipairs(call('HKEYS', CHOICES)) do
    for choice in string.gmatch(call('HGET', CHOICES, field), '\t[^\n]+') do known[#known + 1] = choice end
  end
  return known
end
dismiss(QUEUE, 'empty')
for _, name in ipairs(call('LRANGE', MEMBERS, 0, 499)) do
  local record = call('HGET', ACCOUNTS, name)
  if record then forget_account(name, record) end
  dismiss(queue_of(name), 'empty')
  call('HDEL', ACCOUNTS, name)
end
call('LTRIM', MEMBERS, 500, -1)
for _, token in ipairs(call('ZRANGE', LEASES, 0, 499)) do give_back(token, 0, 'reset') end
local left = call('LLEN', MEMBERS) + call('ZCARD', LEASES)
if left == 0 then
  for _, choice in ipairs(known_choices()) do
    dismiss(queue_of(choice), 'empty')
    call('DEL', ROTATION .. choice, PLACES .. choice, CARRIERS .. choice)
  end
  dismiss(queue_of(CLEANUP), 'empty')
  call('DEL', ROTATION, PLACES, HASHES, HELD, COOLING, SURPLUS, QUEUE, REQUESTS, QUARANTINE, REST, HEALTH, DIRTY, CHOICES, RESERVED)
  write_version()
  call('HSET', META, 'more', 0, 'stale', 0)
  record_event('reset', '', caller, 0)
  if ARGV[3] == '1' then call('DEL', META, EVENTS) end
end
return {left}
