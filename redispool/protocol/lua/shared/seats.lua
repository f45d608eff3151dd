-- Guarantees: a seat is handed out only when its lock was set by this very call.
--@include requests
--@include times
--@include rotation

local function seat_of(name, number)
  if number == '1' then return name end
  return name .. '\t' .. number
end

local function split_seat(seat)
  local name, number = string.match(seat, '^(.*)\t(%d+)$')
  return name or seat, number or '1'
end

-- The highest seat of the account that may be held although it has fewer now; 0: none.
local function surplus_of(name) return math.min(tonumber(call('HGET', SURPLUS, name) or 0) or 0, 10000) end

-- Milliseconds after which to look at a lock again: until it ends, where it does.
local function left_of(seat)
  local left = call('PTTL', LOCK .. seat)
  return left >= 0 and math.max(left, 1) or 60000
end

-- Returns a seat to those that are free. An account that is free already, as somebody deleted its lock, counts once.
local function put_back(name, number, record)
  local has_turn = places_of('', name) > 0
  if sessions_of(record) > 1 then
    local idle = redis.pcall('RPUSH', IDLE .. name, number)
    if type(idle) ~= 'number' then -- of another type: the seat comes when it is gone
      need_extras()
      return call('ZADD', COOLING, now + 1000, seat_of(name, number))
    end
    if idle > 1 then tally('more', 1) end
  end
  if has_turn then return end
  join_rotation(name, record)
end

-- A lock that no lease tells of (an operator's own, or an index that went astray) gets one of owner '?', which ends with the lock.
local function adopt(seat)
  if call('TYPE', LOCK .. seat).ok ~= 'string' then -- no seat is lost: GET tells the caller what is wrong
    local name, number = split_seat(seat)
    put_back(name, number, call('HGET', ACCOUNTS, name))
  end
  local token = call('GET', LOCK .. seat)
  if not token or lease_of(token) == seat then return end
  local alias = '?' .. seat
  write_lease(alias, seat, '?', 0, now, '')
  list_lease(alias, '?')
  call('ZADD', LEASES, now + left_of(seat), alias)
end

-- Moves what is held or rests on one seat to another that is empty.
local function move_seat(seat, new_seat)
  local token = call('GET', LOCK .. seat)
  local _, owner, fence, since, purpose = lease_of(token or '')
  if token then call('RENAME', LOCK .. seat, LOCK .. new_seat) end
  if owner then write_lease(token, new_seat, owner, fence, since, purpose) end
  if call('HEXISTS', HELD, '?' .. seat) == 1 then
    end_lease('?' .. seat, '?')
    adopt(new_seat)
  end
  for _, index in ipairs({COOLING, DIRTY}) do
    local at = call('ZSCORE', index, seat)
    if at then
      call('ZREM', index, seat)
      call('ZADD', index, at, new_seat)
    end
  end
end

-- The seat goes to a holder of one that is no more, since max_sessions was lowered; true if there was one.
local function taken_by_surplus(name, seat, sessions)
  for number = surplus_of(name), sessions + 1, -1 do
    local old = seat_of(name, tostring(number))
    if call('EXISTS', LOCK .. old) == 1 then
      move_seat(old, seat)
      adopt(seat)
      call('HSET', SURPLUS, name, number)
      return true
    end
  end
  call('HDEL', SURPLUS, name)
  return false
end

-- Whether the account still has the seat, and none of those that hold more than it has now moves there.
local function is_vacant(name, number, record)
  local sessions = sessions_of(record)
  if tonumber(number) > sessions then return false end
  return call('EXISTS', SURPLUS) == 0 or not taken_by_surplus(name, seat_of(name, number), sessions)
end

-- Remembers that some of so many seats may be held although the account has fewer now.
local function note_surplus(name, sessions)
  local highest = math.max(sessions, surplus_of(name))
  for number = highest, 2, -1 do
    if call('EXISTS', LOCK .. seat_of(name, tostring(number))) == 1 then
      need_extras()
      return call('HSET', SURPLUS, name, number)
    end
  end
end

-- Takes the account's free seats out of circulation, and tells which they were; those held or resting are left alone.
local function withdraw(name, record)
  local seats = {}
  if places_of('', name, 1) > 0 then
    leave_rotation(name, record)
    for _, number in ipairs(redis.pcall('LRANGE', IDLE .. name, 0, -1)) do seats[#seats + 1] = seat_of(name, number) end
    if #seats == 0 then seats[1] = name end
    tally('more', 1 - #seats)
  end
  call('DEL', IDLE .. name)
  return seats
end
