-- Guarantees: each account's free seats, and only those, can be had, whatever its max_sessions was before.
--@include waiters

-- Takes the account's free seats out of circulation; those held or resting are left alone.
local function withdraw(name)
  local places = tonumber(redis.call('HGET', PLACES, name) or 0)
  if places > 0 then
    leave_rotation(name)
    count_free(-math.max(redis.call('LLEN', IDLE .. name), 1))
  end
  redis.call('DEL', IDLE .. name)
end

-- Brings each seat that is neither held nor resting into circulation.
local function circulate(name, record)
  local sessions = sessions_of(record)
  if sessions == 0 then
    count_free(1)
    join_rotation(name)
    local request = first_waiter(name)
    while request do
      forget(request)
      post(request, describe(request.token, name, 0, now, 0, record), request.ttl)
      request = first_waiter(name)
    end
  end
  for number = 1, sessions do
    local seat = seat_of(name, tostring(number))
    if redis.call('EXISTS', LOCK .. seat) == 1 then
      adopt(seat)
    elseif not redis.call('ZSCORE', COOLING, seat) then
      free(seat)
    end
  end
end
