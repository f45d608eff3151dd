-- Guarantees: whoever has set a seat's lock has the one lease that tells of it.
--@include held
--@include clock

local function write_lease(token, seat, owner, fence, since, purpose)
  call('HSET', HELD, token, seat .. '\n' .. owner .. '\n' .. fence .. '\n' .. since .. '\n' .. purpose)
end

local function describe(token, seat, fence, since, expires, record)
  return 'granted\n' .. token .. '\n' .. seat .. '\n' .. fence .. '\n' .. since .. '\n' .. expires .. '\n' .. record
end

-- The lock is set: records the lease; the grant as its holder is told it. 'asked_at': when he began to wait, if he did.
local function record_lease(fence, token, name, seat, owner, ttl, purpose, record, asked_at)
  local expires = whole(now + ttl)
  write_lease(token, seat, owner, fence, now_text, purpose)
  call('ZADD', LEASES, expires, token)
  list_lease(token, owner)
  record_event('granted', name, owner, fence, purpose, token, asked_at and whole(math.max(now - asked_at, 0)))
  return describe(token, seat, fence, now_text, expires, record)
end

local function next_fence()
  local fence = redis.pcall('HINCRBY', META, 'fence', 1)
  if type(fence) ~= 'number' then -- somebody has written what is none: those to come are above all that were counted
    fence = clock[1] * 1000000 + clock[2]
    call('HSET', META, 'fence', whole(fence))
  end
  return whole(fence)
end
