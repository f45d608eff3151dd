-- Guarantees: each token's lease is over, and its seat is with the first waiter, in the rotation, or resting; others' leases are untouched.
-- Returns for each token 1 (released now) or 0 (it held nothing any more).
-- ARGV[3] cooldown ms, '' for the pool's, [4...] tokens
--@include open
-- The common case first, before all that the others need is even defined: one account, with one seat, for which nobody waits.
if not extras and #ARGV == 4 and (ARGV[3] == '' or ARGV[3] == '0') then
  local token = ARGV[4]
  local entry = redis.call('HGET', HELD, token)
  local name, owner, fence = string.match(entry or '', '^([^\t\n]*)\n(.-)\n(.-)\n')
  if name and redis.call('GET', LOCK .. name) == token then
    local record = redis.call('HGET', ACCOUNTS, name)
    if record and string.sub(record, 1, 2) == '1\n' and redis.call('EXISTS', QUEUE, QUEUE .. ':' .. name) == 0
      and redis.call('HSETNX', PLACES, name, 1) == 1 then
      redis.call('DEL', LOCK .. name)
      redis.call('ZREM', LEASES, token)
      redis.call('HDEL', HELD, token)
      redis.call('SREM', OWNER .. owner, token)
      redis.call('RPUSH', ROTATION, name)
      redis.call('HINCRBY', META, 'free', 1)
      record_event('released', name, owner, fence)
      return {1}
    end
  end
end

--@include leases
local cooldown = tonumber(ARGV[3])
local released = {}
for i = 4, #ARGV do released[#released + 1] = give_back(ARGV[i], cooldown) and 1 or 0 end
return released
