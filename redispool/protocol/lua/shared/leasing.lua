-- Guarantees: whoever has set a seat's lock has the one lease that tells of it.
--@include held
--@include clock

local function lease_entry(seat, owner, fence, since, purpose)
  return seat .. '\n' .. owner .. '\n' .. fence .. '\n' .. since .. '\n' .. purpose
end

local function write_lease(token, seat, owner, fence, since, purpose)
  call('HSET', HELD, token, lease_entry(seat, owner, fence, since, purpose))
end

local function describe(token, seat, fence, since, expires, record)
  return 'granted\n' .. token .. '\n' .. seat .. '\n' .. fence .. '\n' .. since .. '\n' .. expires .. '\n' .. record
end

-- The lease is written: what else tells of it; the grant as its holder is told it. 'asked_at': when he began to wait, if he did;
-- 'released': the event that it follows, see open.lua.
local function index_lease(fence, token, name, seat, owner, ttl, purpose, record, asked_at, released)
  local waited = asked_at and whole(math.max(now - asked_at, 0))
  local expires = whole(now + ttl)
  call('ZADD', LEASES, expires, token)
  list_lease(token, owner)
  write_event('granted', event_of(name, owner, fence, token, waited, purpose), released)
  return describe(token, seat, fence, now_text, expires, record)
end

-- The lock is set: records the lease.
local function record_lease(fence, token, name, seat, owner, ttl, purpose, record, asked_at, released)
  write_lease(token, seat, owner, fence, now_text, purpose)
  return index_lease(fence, token, name, seat, owner, ttl, purpose, record, asked_at, released)
end

local function next_fence() return whole(call('HINCRBY', META, 'fence', 1)) end
