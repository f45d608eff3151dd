-- Guarantees: a seat that comes free goes to the first living waiter who may have it, in the call that frees it; else to the rotation.
-- A request is 'BOX\nOWNER\nTTL\nWANT'. A waiter whose mailbox shows no life is dropped; should it live, it comes back with its old stamp.
--@include seats

local function queue_of(want)
  if want == '' then return QUEUE end
  return QUEUE .. ':' .. want
end

local function request_of(token)
  local entry = redis.call('HGET', REQUESTS, token)
  if not entry then return nil end
  local box, owner, ttl, want = string.match(entry, '^(.-)\n(.-)\n(.-)\n(.*)$')
  return {token = token, box = box, owner = owner, ttl = tonumber(ttl), want = want}
end

local function forget(request)
  redis.call('ZREM', queue_of(request.want), request.token)
  redis.call('HDEL', REQUESTS, request.token)
end

-- A waiter's own mailbox goes with its request; one that many waiters of a process share stays.
local function close_mailbox(request)
  if request.box == request.token then redis.call('DEL', MAIL .. request.box, ALIVE .. request.box) end
end

-- What many share must not end with the shortest of their leases.
local function post(request, mail, lifetime)
  local alone = request.box == request.token
  redis.call('RPUSH', MAIL .. request.box, mail)
  redis.call('PEXPIRE', MAIL .. request.box, alone and lifetime or math.max(lifetime, 60000))
  if alone then redis.call('DEL', ALIVE .. request.box) end
end

-- The first living waiter for any account, or for the one named; the second result tells that the bound was reached.
local function first_waiter(name)
  local own = queue_of(name)
  if redis.call('EXISTS', QUEUE, own) == 0 then return nil end
  for _ = 1, BOUND do
    local first = redis.call('ZRANGE', QUEUE, 0, 0, 'WITHSCORES')
    local queue = QUEUE
    if own ~= QUEUE then
      local wanting = redis.call('ZRANGE', own, 0, 0, 'WITHSCORES')
      if wanting[1] and (not first[1] or tonumber(wanting[2]) < tonumber(first[2])) then
        first, queue = wanting, own
      end
    end
    if not first[1] then return nil end
    local request = request_of(first[1])
    if request and redis.call('EXISTS', ALIVE .. request.box) == 1 then return request end
    redis.call('ZREM', queue, first[1])
    redis.call('HDEL', REQUESTS, first[1])
  end
  return nil, true
end

-- A seat has come free.
local function free(seat)
  local name, number = split_seat(seat)
  local record = redis.call('HGET', ACCOUNTS, name)
  if not record then return end -- removed while it was held
  local sessions = sessions_of(record)
  if tonumber(number) > sessions then return end -- max_sessions was lowered while it was held
  if redis.call('EXISTS', SURPLUS) == 1 and taken_by_surplus(name, seat, sessions) then return end
  local request = first_waiter(name)
  if request then
    local mail = grant(request, seat, record)
    if mail then
      forget(request)
      post(request, mail, request.ttl)
    end
    return -- without a mail, somebody else's lock is on the seat, which comes back when that ends
  end
  count_free(1)
  if sessions > 1 then redis.call('RPUSH', IDLE .. name, number) end
  join_rotation(name)
end

local function end_lease(token, owner)
  redis.call('ZREM', LEASES, token)
  redis.call('HDEL', HELD, token)
  redis.call('SREM', OWNER .. owner, token)
end

-- Ends the token's lease and frees its seat, after 'cooldown' ms; true if the lease stood until now.
local function give_back(token, cooldown)
  local seat, owner = lease_of(token)
  if not seat then return false end
  local lock = redis.call('GET', LOCK .. seat)
  end_lease(token, owner)
  if lock and lock ~= token and owner ~= '?' then return false end
  redis.call('DEL', LOCK .. seat)
  if cooldown > 0 and redis.call('HEXISTS', ACCOUNTS, (split_seat(seat))) == 1 then
    redis.call('ZADD', COOLING, now + cooldown, seat)
  else
    free(seat)
  end
  return lock == token
end

-- The same grant once more, for a request whose first answer may have been lost; nil where the token holds nothing.
local function granted_before(token)
  local seat, _, fence, since = lease_of(token)
  if not seat then return nil end
  local record = redis.call('HGET', ACCOUNTS, (split_seat(seat)))
  if record and redis.call('GET', LOCK .. seat) == token then
    return describe(token, seat, fence, since, redis.call('ZSCORE', LEASES, token), record)
  end
  give_back(token, 0) -- it ended, or its account was removed, before the holder learned of it
end

-- Frees what has expired or rested long enough, the oldest first, so many at most; true if there may be more.
local function reclaim()
  local due = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, BOUND)
  for _, token in ipairs(due) do
    local seat, owner = lease_of(token)
    local lock = seat and redis.call('GET', LOCK .. seat)
    if not seat then
      redis.call('ZREM', LEASES, token)
    elseif lock == token or lock and owner == '?' then -- the lock decides
      redis.call('ZADD', LEASES, now + left_of(seat), token)
    else
      end_lease(token, owner)
      if not lock then free(seat) end
    end
  end
  local rested = redis.call('ZRANGEBYSCORE', COOLING, '-inf', now, 'LIMIT', 0, BOUND)
  for _, seat in ipairs(rested) do
    redis.call('ZREM', COOLING, seat)
    free(seat)
  end
  return #due == BOUND or #rested == BOUND
end

-- Milliseconds until the next lease or cooldown ends by itself; -1 where none will.
local function next_end()
  local lease = redis.call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')
  local rest = redis.call('ZRANGE', COOLING, 0, 0, 'WITHSCORES')
  local soonest = math.min(tonumber(lease[2]) or math.huge, tonumber(rest[2]) or math.huge)
  if soonest == math.huge then return -1 end
  return math.max(soonest - now, 0)
end

-- Tells the waiters of a queue that they wait in vain; a crowd beyond the bound learns it at its next slice.
local function dismiss(queue, reason)
  local tokens = redis.call('ZRANGE', queue, 0, 999)
  for _, token in ipairs(tokens) do
    local request = request_of(token)
    redis.call('ZREM', queue, token)
    redis.call('HDEL', REQUESTS, token)
    if request then post(request, reason .. '\n' .. token, 60000) end
  end
end
