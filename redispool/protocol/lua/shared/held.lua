-- Guarantees: what tells of a lease goes together, whoever's lock is on its seat.
-- A lease is 'SEAT\nOWNER\nFENCE\nSINCE\nPURPOSE'; the purpose is '', 'cleanup', or 'reserved: NOTE'.
--@include open

local function lease_of(token)
  local entry = call('HGET', HELD, token)
  if entry then return string.match(entry, '^(.-)\n(.-)\n(%d+)\n(%d+)\n(.*)$') end
end

local function list_lease(token, owner)
  if by_owner then redis.pcall('SADD', OWNER .. owner, token) end -- should it be of another type, owned.lua says so
end

local function end_lease(token, owner)
  call('ZREM', LEASES, token)
  call('HDEL', HELD, token)
  if by_owner then redis.pcall('SREM', OWNER .. owner, token) end
end
