-- Guarantees: each token's lease is over, and its seat is with the first waiter, in the rotation, or resting; others' leases are untouched.
-- Returns for each token 1 (released now) or 0 (it held nothing any more).
-- ARGV[3] cooldown ms, '' for the pool's, 'undone' if a cleaner did not clean, [4...] tokens
--@include held
-- The common cases first, before all that the others need is even defined: one simple account, for which nobody waits,
-- or of those who wait for any account the first is there to take it.
local token, name, owner, fence, record = ARGV[4], nil, nil, nil, nil
if not extras and #ARGV == 4 and (ARGV[3] == '' or ARGV[3] == '0') then
  name, owner, fence = lease_of(token)
  record = name and call('GET', LOCK .. name) == token and call('HGET', ACCOUNTS, name)
  record = record and string.sub(record, 1, 2) == '1\n' and record
end
if record and not anyone_waits and call('HSETNX', PLACES, name, '1') == 1 then
  end_lease(token, owner)
  call('DEL', LOCK .. name)
  call('RPUSH', ROTATION, name)
  call('HSET', META, 'free', whole((settings[4] or 0) + 1))
  record_event('released', name, owner, fence, nil, token)
  return {1}
end
--@include requests
if record and anyone_waits then
  local first = call('ZPOPMIN', QUEUE)
  local head, stamp = first[1], first[2]
  local request = head and request_of(head)
  if request and request.options == NONE and is_alive(request) and call('EXISTS', QUEUE .. ':' .. name) == 0 then
    end_lease(token, owner)
    call('SET', LOCK .. name, head, 'PX', request.ttl)
    deliver(request, record_lease(next_fence(), head, name, name, request.owner, request.ttl, '', record, request.since,
      event_of(name, owner, fence, token)), request.ttl)
    return {1}
  end
  if head then call('ZADD', QUEUE, stamp, head) end -- where it was
end

--@include leases
local cooldown, event = tonumber(ARGV[3]), ARGV[3] == 'undone' and 'returned' or nil
local released = {}
for i = 4, #ARGV do released[#released + 1] = give_back(ARGV[i], cooldown, event) and 1 or 0 end
return released
