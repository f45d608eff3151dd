-- Guarantees: whoever has set a seat's lock has the one lease that tells of it.
-- A lease is 'SEAT\nOWNER\nFENCE\nSINCE\nPURPOSE'; the purpose is '', 'cleanup', or 'reserved: NOTE'.
--@include clock

local function lease_of(token)
  local entry = redis.call('HGET', HELD, token)
  if entry then return string.match(entry, '^(.-)\n(.-)\n(%d+)\n(%d+)\n(.*)$') end
end

local function write_lease(token, seat, owner, fence, since, purpose)
  redis.call('HSET', HELD, token, table.concat({seat, owner, fence, since, purpose}, '\n'))
end

local function describe(token, seat, fence, since, expires, record)
  return table.concat({'granted', token, seat, fence, since, expires, record}, '\n')
end

-- The lock is set: records the lease; the grant as its holder is told it.
local function record_lease(token, name, seat, owner, ttl, purpose, record)
  local fence, expires = redis.call('HINCRBY', META, 'fence', 1), now + ttl
  write_lease(token, seat, owner, fence, now, purpose)
  redis.call('ZADD', LEASES, expires, token)
  redis.pcall('SADD', OWNER .. owner, token) -- should it be of another type, owned.lua says so
  record_event('granted', name, owner, fence, purpose, token)
  return describe(token, seat, fence, now, expires, record)
end

local function end_lease(token, owner)
  redis.call('ZREM', LEASES, token)
  redis.call('HDEL', HELD, token)
  redis.pcall('SREM', OWNER .. owner, token)
end
