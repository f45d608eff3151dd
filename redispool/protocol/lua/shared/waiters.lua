-- Guarantees: a seat that comes free goes to the first living waiter who may have it, in the call that frees it; else to the rotation.
-- A waiter whose mailbox shows no life is dropped; should it live, it comes back with its old stamp.
--@include conditions
local PASSED = 512 -- waiters that may not have an account, and are passed over for the first who may; beyond them nobody is looked for

-- Whether a waiter can be served by one hand-off; one who wants several asks again when there are enough.
local function wants_several(request) return (request.options.count or 1) > 1 end

-- Whether a waiter is to have the account; who waits for a restore, or for what is reserved, and not just for his turn, holds up nobody.
local function is_for(request, name, alone)
  if not may_take(request, name) then return false end
  return not wants_several(request) or not alone and is_in_reach(request)
end

-- The first living waiter in the queues who may have the account ('alone': of those who want but one); the second result
-- tells that so many had died that the bound was reached.
local function first_of(queues, name, alone)
  if call('EXISTS', unpack(queues)) == 0 then return nil end
  local passed, dead = {}, 0
  for _ = 1, PASSED do
    local token, stamp, queue
    for _, one in ipairs(queues) do
      local skip = passed[one] or 0
      local head = redis.pcall('ZRANGE', one, skip, skip, 'WITHSCORES') -- nobody could join one of another type
      if head[1] and (not token or tonumber(head[2]) < stamp) then token, stamp, queue = head[1], tonumber(head[2]), one end
    end
    if not token then return nil end
    local request = request_of(token)
    if not request or not is_alive(request) then
      call('ZREM', queue, token)
      call('HDEL', REQUESTS, token)
      dead = dead + 1
      if dead == BOUND then return nil, true end
    elseif is_for(request, name, alone) then
      return request
    else
      passed[queue] = (passed[queue] or 0) + 1
    end
  end
  return nil
end

local function first_waiter(name, record, alone)
  local queues = {QUEUE, queue_of(name)}
  for _, choice in ipairs(choices_of(record)) do queues[#queues + 1] = queue_of(choice) end
  return first_of(queues, name, alone)
end

-- Whether something is free of what is wanted, though perhaps not for who wants it, or not yet.
local function is_free(request)
  if request.want == '' then return count_free() > 0 end
  if string.sub(request.want, 1, 1) == '\t' then return call('EXISTS', ROTATION .. request.want) == 1 end
  return places_of('', request.want, 1) > 0
end

-- Somebody who held others up has gone, or was served: who is next shall ask. 'queue' is the one that he was in.
local function tell_next(queue)
  if call('EXISTS', REQUESTS) == 0 or count_free() <= 0 then return end
  wake((first_of({queue}, '')))
  local name = call('LRANGE', ROTATION, 0, 0)[1]
  local record = name and call('HGET', ACCOUNTS, name)
  if record then wake((first_waiter(name, record))) end
end

-- A seat rests; if that is over sooner than all that its first waiter knows of, it is told.
local function rest_and_tell(seat, back_at)
  local known = next_end()
  rest(seat, back_at)
  if known >= 0 and back_at - now >= known then return end
  local name = split_seat(seat)
  local record = call('HGET', ACCOUNTS, name)
  if record then wake((first_waiter(name, record))) end
end

-- The account, which is never locked, comes into the rotation if it is not there, and to all who wait for it.
local function open_up(name, record)
  if places_of('', name) > 0 then return end
  join_rotation(name, record)
  for _ = 1, CROWD do
    local request = first_waiter(name, record, true)
    if not request then break end
    if pause() > 0 then return wake(request) end
    post(request, describe(request.token, name, 0, now, 0, record), request.ttl)
    if extras then handed_out(request, name, record) end
    if places_of('', name) <= 0 then return end -- it rests now, or is quarantined
  end
  wake((first_waiter(name, record))) -- who wants several, if anybody
end

-- A seat has come free.
local function free(seat)
  local name, number = split_seat(seat)
  local record = call('HGET', ACCOUNTS, name)
  if not record then return end -- removed while it was held
  local sessions = sessions_of(record)
  if tonumber(number) > math.max(sessions, 1) then return end -- max_sessions was lowered while it was held
  if extras then
    if call('HEXISTS', QUARANTINE, name) == 1 then return end
    if sessions > 0 and call('EXISTS', SURPLUS) == 1 and taken_by_surplus(name, seat, sessions) then return end
    local back_at = tonumber(call('HGET', REST, name) or 0)
    if back_at > now then return rest_and_tell(seat, back_at) end
    call('HDEL', REST, name)
  end
  if sessions == 0 then return open_up(name, record) end
  local request = first_waiter(name, record)
  if not request then
    put_back(name, number, record)
  elseif wants_several(request) then
    put_back(name, number, record)
    if count_free() >= request.options.count then wake(request) end
  elseif pause() > 0 then
    put_back(name, number, record)
    wake(request) -- it asks again when the pace allows it
  else
    local mail = grant(request, request.token, seat, record)
    if mail then
      post(request, mail, request.ttl)
      if extras then handed_out(request, name, record) end
    end -- else somebody else's lock is on the seat, which comes back when that ends
  end
end

-- A seat waits for a cleaner before it comes free.
local function to_the_cleaners(seat)
  need_extras()
  local name, number = split_seat(seat)
  local record = call('HGET', ACCOUNTS, name)
  if not record or call('HEXISTS', QUARANTINE, name) == 1 or not is_vacant(name, number, record) then return end
  local request = first_of({queue_of(CLEANUP)}, name)
  local mail = request and grant(request, request.token, seat, record)
  if mail then
    post(request, mail, request.ttl)
  elseif call('EXISTS', LOCK .. seat) == 0 then
    call('ZADD', DIRTY, now, seat)
  end
end

-- Tells the waiters of a queue that they wait in vain.
local function dismiss(queue, reason)
  for _, token in ipairs(call('ZRANGE', queue, 0, CROWD - 1)) do
    local request = request_of(token)
    call('ZREM', queue, token)
    call('HDEL', REQUESTS, token)
    if request then post(request, reason .. '\n' .. token, 60000) end
  end
end
