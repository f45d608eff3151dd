-- Guarantees: a seat is handed out only when its lock was set by this very call; an account stands in the rotation once.
-- A record is 'SESSIONS\n...'; 0 sessions: the account is never locked. A lease is 'SEAT\nOWNER\nFENCE\nSINCE'.
-- PLACES counts an account's entries in the rotation: n > 0, the last of n is its turn and the others are stale; -n, all n are stale.
--@include open
local BOUND = 64 -- steps that one call may spend on what others left behind

local function sessions_of(record) return tonumber(string.match(record, '^%d+')) end

local function seat_of(name, number)
  if number == '1' then return name end
  return name .. '\t' .. number
end

local function split_seat(seat)
  local name, number = string.match(seat, '^(.*)\t(%d+)$')
  return name or seat, number or '1'
end

local function lease_of(token)
  local entry = redis.call('HGET', HELD, token)
  if entry then return string.match(entry, '^(.-)\n(.-)\n(.-)\n(.*)$') end
end

local function count_free(change) redis.call('HINCRBY', META, 'free', change) end

-- Puts the account at the end of the rotation, unless it has its turn there already.
-- Where accounts were taken from the middle so often that the list might grow beyond twice their number, its last stale entry is revived.
local function join_rotation(name)
  local places = redis.call('HINCRBY', PLACES, name, 1)
  if places == 1 then
    redis.call('RPUSH', ROTATION, name)
  elseif places > 1 then
    redis.call('HSET', PLACES, name, places - 1)
  else
    local stale = 1 - places
    local surplus = redis.call('LLEN', ROTATION) - redis.call('HLEN', PLACES)
    if surplus >= redis.call('LLEN', MEMBERS) then
      redis.call('HSET', PLACES, name, stale)
    else
      redis.call('RPUSH', ROTATION, name)
      redis.call('HSET', PLACES, name, stale + 1)
    end
  end
end

-- Takes the account's turn away, from wherever it is in the rotation: its entries become stale.
local function leave_rotation(name)
  local places = tonumber(redis.call('HGET', PLACES, name) or 0)
  if places > 0 then redis.call('HSET', PLACES, name, -places) end
end

-- Moves what is held or rests on one seat to another that is empty.
local function move_seat(seat, new_seat)
  local token = redis.call('GET', LOCK .. seat)
  local _, owner, fence, since = lease_of(token or '')
  if token then redis.call('RENAME', LOCK .. seat, LOCK .. new_seat) end
  if owner then redis.call('HSET', HELD, token, table.concat({new_seat, owner, fence, since}, '\n')) end
  local rests = redis.call('ZSCORE', COOLING, seat)
  if rests then
    redis.call('ZREM', COOLING, seat)
    redis.call('ZADD', COOLING, rests, new_seat)
  end
end

-- The account whose turn it is, or nil; its entry is gone from the rotation. The second result tells that the bound was reached.
local function next_account()
  for _ = 1, BOUND do
    local name = redis.call('LPOP', ROTATION)
    if not name then return nil end
    local places = tonumber(redis.call('HGET', PLACES, name) or 0)
    if places == 1 or places == -1 then
      redis.call('HDEL', PLACES, name)
    elseif places ~= 0 then
      redis.call('HINCRBY', PLACES, name, places > 0 and -1 or 1)
    end
    if places == 1 then return name end
  end
  return nil, true
end

-- Milliseconds after which to look at a lock again: until it ends, where it does.
local function left_of(seat)
  local left = redis.call('PTTL', LOCK .. seat)
  return left >= 0 and math.max(left, 1) or 60000
end

-- A lock that no lease tells of (an operator's own, or an index that went astray) gets one of owner '?', which ends with the lock.
local function adopt(seat)
  local token = redis.call('GET', LOCK .. seat)
  if not token or lease_of(token) == seat then return end
  local alias = '?' .. seat
  redis.call('HSET', HELD, alias, seat .. '\n?\n0\n' .. now)
  redis.call('SADD', OWNER .. '?', alias)
  redis.call('ZADD', LEASES, now + left_of(seat), alias)
end

-- The seat goes to a holder of one that is no more, since max_sessions was lowered; true if there was one.
local function taken_by_surplus(name, seat, sessions)
  for number = tonumber(redis.call('HGET', SURPLUS, name) or 0), sessions + 1, -1 do
    local old = seat_of(name, tostring(number))
    if redis.call('EXISTS', LOCK .. old) == 1 then
      move_seat(old, seat)
      adopt(seat)
      redis.call('HSET', SURPLUS, name, number)
      return true
    end
  end
  redis.call('HDEL', SURPLUS, name)
  return false
end

local function describe(token, seat, fence, since, expires, record)
  return table.concat({'granted', token, seat, fence, since, expires, record}, '\n')
end

-- Locks the seat for the token and records the lease; the grant as the holder is told it, or nil if the seat is locked.
local function grant(request, seat, record)
  if not redis.call('SET', LOCK .. seat, request.token, 'PX', request.ttl, 'NX') then
    adopt(seat)
    return nil
  end
  local fence = redis.call('HINCRBY', META, 'fence', 1)
  local expires = now + request.ttl
  redis.call('HSET', HELD, request.token, table.concat({seat, request.owner, fence, now}, '\n'))
  redis.call('ZADD', LEASES, expires, request.token)
  redis.call('SADD', OWNER .. request.owner, request.token)
  return describe(request.token, seat, fence, now, expires, record)
end

-- Grants a free seat of an account that has just been taken out of the rotation, and returns it there if more seats are left.
local function grant_seat(request, name, record)
  local sessions = sessions_of(record)
  if sessions == 0 then
    join_rotation(name)
    return describe('', name, 0, now, 0, record)
  elseif sessions == 1 then
    count_free(-1)
    return grant(request, name, record)
  end
  local result, number
  repeat
    number = redis.call('LPOP', IDLE .. name)
    if number then
      count_free(-1)
      result = grant(request, seat_of(name, number), record)
    end
  until result or not number
  if redis.call('EXISTS', IDLE .. name) == 1 then join_rotation(name) end
  return result
end

-- Grants the account asked for ('' for the next in turn), if a seat is free; the second result tells that the bound was reached.
local function take(request, want)
  if want ~= '' then
    local places = tonumber(redis.call('HGET', PLACES, want) or 0)
    if places <= 0 then return nil end
    local record = redis.call('HGET', ACCOUNTS, want)
    if sessions_of(record) == 0 then return describe('', want, 0, now, 0, record) end
    leave_rotation(want)
    return grant_seat(request, want, record)
  end
  for _ = 1, BOUND do
    local name, more = next_account()
    if not name then return nil, more end
    local record = redis.call('HGET', ACCOUNTS, name)
    local result = record and grant_seat(request, name, record)
    if result then return result end
  end
  return nil, true
end
