-- Guarantees: an account is handed out only as the pool's policy and its own health allow, and never sooner.
-- POLICY (in META, JSON): cooldown, min_interval: ms; pace: microseconds from one hand-out to the next; max_failures, max_uses,
-- max_per_owner: numbers; cleanup: true; events: how many are kept. REST: account -> ms before which it is not handed out.
-- QUARANTINE: account -> 'AT\nBY\nREASON'. HEALTH: 'failures:NAME', 'uses:NAME' -> how many; 'told:NAME' -> the last report.
--@include seats

-- The seat comes back when the time has come.
local function rest(seat, back_at)
  need_extras()
  redis.call('ZADD', COOLING, back_at, seat)
end

-- The account's free seats rest, and what is held will after it.
local function rest_account(name, record, back_at)
  need_extras()
  redis.call('HSET', REST, name, back_at)
  for _, seat in ipairs(withdraw(name, record)) do rest(seat, back_at) end
end

local function quarantine(name, record, reason, by)
  need_extras()
  redis.call('HSET', QUARANTINE, name, table.concat({now, by, reason}, '\n'))
  withdraw(name, record)
  for number = 1, sessions_of(record) do
    redis.call('ZREM', COOLING, seat_of(name, tostring(number)))
    redis.call('ZREM', DIRTY, seat_of(name, tostring(number)))
  end
  record_event('quarantined', name, by, 0, reason)
end

-- What is to be noted when an account was handed out.
local function handed_out(request, name, record)
  if policy.pace then
    local next_at = math.max(clock[1] * 1000000 + clock[2], tonumber(redis.call('HGET', META, 'next_at') or 0)) + policy.pace
    redis.call('HSET', META, 'next_at', string.format('%.0f', next_at))
  end
  if policy.min_interval then rest_account(name, record, now + policy.min_interval) end
  if policy.max_uses and redis.call('HINCRBY', HEALTH, 'uses:' .. name, 1) >= policy.max_uses then
    quarantine(name, record, 'used ' .. policy.max_uses .. ' times: rotate its password and restore it', 'pool')
  end
  if request.options.prefer == true then redis.call('SET', LAST .. request.owner, name, 'PX', 86400000) end
end

-- Whether who asks may have the account, as he excluded none and has not got all that he may have.
local function may_take(request, name)
  for _, other in ipairs(request.options.exclude or NONE) do
    if other == name then return false end
  end
  if not policy.max_per_owner then return true end
  local held = redis.pcall('SCARD', OWNER .. request.owner)
  return (tonumber(held) or 0) + (request.options.count or 1) <= policy.max_per_owner
end

-- Locks the seat for the token and records the lease; the grant as the holder is told it, or nil if the seat is locked.
local function grant(request, token, seat, record)
  if not redis.call('SET', LOCK .. seat, token, 'PX', request.ttl, 'NX') then
    adopt(seat)
    return nil
  end
  return record_lease(token, (split_seat(seat)), seat, request.owner, request.ttl, request.options.purpose or '', record)
end

-- Grants a free seat of an account that has just been taken out of the rotation, and returns it there if more seats are left.
local function grant_seat(request, token, name, record)
  local sessions = sessions_of(record)
  if sessions == 0 then
    join_rotation(name, record)
    return describe(token, name, 0, now, 0, record)
  end
  local result, number
  repeat
    number = sessions == 1 and '1' or redis.pcall('LPOP', IDLE .. name)
    if type(number) == 'table' then -- it is of another type: the account keeps a turn, and the caller is told
      join_rotation(name, record)
      redis.call('LPOP', IDLE .. name)
    elseif number then
      count_free(-1)
      result = grant(request, token, seat_of(name, number), record)
    end
  until result or not number or sessions == 1
  if sessions > 1 and redis.call('EXISTS', IDLE .. name) == 1 then join_rotation(name, record) end
  if result and extras then handed_out(request, name, record) end
  return result
end
