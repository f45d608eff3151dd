-- Guarantees: nothing changes; tells how long it is until something may happen by itself.
--@include open
--@include clock

-- Milliseconds until the pool's pace allows the next hand-out.
local function pause()
  if not policy.pace then return 0 end
  local next_at = tonumber(call('HGET', META, 'next_at') or 0)
  return math.max(0, math.ceil((next_at - clock[1] * 1000000 - clock[2]) / 1000))
end

-- Milliseconds until the next lease, rest or pause ends by itself; -1 where none will. Before a waiter's turn as many
-- pauses are to end as there are others before it.
local function next_end(rank)
  local soonest = tonumber(call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')[2]) or math.huge
  if extras then
    local resting = call('ZRANGE', COOLING, 0, 0, 'WITHSCORES')
    soonest = math.min(soonest, tonumber(resting[2]) or math.huge)
    local paced = pause()
    if paced > 0 and call('EXISTS', ROTATION) == 1 then
      soonest = math.min(soonest, now + paced + math.ceil((rank or 0) * policy.pace / 1000))
    end
  end
  if soonest == math.huge then return -1 end
  return math.max(soonest - now, 0)
end
