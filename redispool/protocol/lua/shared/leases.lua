-- Guarantees: the lock decides who holds a seat; what disagrees with it is mended, and a lease that ended frees its seat once.
--@include waiters

-- Who has given a lease back may have more from now on, where the policy limits what one owner has: of those who ask for
-- him, the first for each thing that is free.
local function tell_owner(owner)
  if not policy.max_per_owner then return end
  local told, looked_at = {}, 0
  for _, token in ipairs(call('ZRANGE', ASKING .. owner, 0, CROWD - 1)) do
    local request = request_of(token)
    if not request then
      call('ZREM', ASKING .. owner, token)
    else
      if not told[request.want] and may_take(request, '') and is_free(request) then
        told[request.want] = true
        wake(request)
      end
      looked_at = looked_at + 1
      if looked_at == BOUND then return end
    end
  end
end

-- What happens to a seat whose lease is over; 'cooldown' ms, nil for the policy's; 'undone': not by its holder.
local function leave_seat(seat, purpose, cooldown, undone)
  local name = split_seat(seat)
  if call('HEXISTS', ACCOUNTS, name) == 0 then return end
  if policy.cleanup and (purpose ~= 'cleanup' or undone) then
    if (cooldown or 0) > 0 then rest_until(name, now + cooldown) end
    return to_the_cleaners(seat)
  end
  local ms = cooldown or policy.cooldown or 0
  if ms > 0 then return rest_and_tell(seat, now + ms) end
  free(seat)
end

-- Ends the token's lease and frees its seat; true if the lease stood until now.
local function give_back(token, cooldown, event, why)
  local seat, owner, fence, _, purpose = lease_of(token)
  if not seat then return false end
  local lock, ends = call('GET', LOCK .. seat), tonumber(call('ZSCORE', LEASES, token) or 0)
  end_lease(token, owner)
  if lock and lock ~= token and owner ~= '?' then
    record_event('lost', (split_seat(seat)), owner, fence, 'somebody set its lock', token)
    adopt(seat) -- somebody has set a lock of his own over ours: the seat comes back when that ends
    return false
  end
  call('DEL', LOCK .. seat)
  if not lock then
    event, why = 'expired', nil
    if ends > now + 100 then event, why = 'lost', 'somebody removed its lock' end -- ms; the two do not end in one instant
  end
  record_event(event or 'released', (split_seat(seat)), owner, fence, why, token)
  leave_seat(seat, purpose, cooldown, not lock or event)
  tell_owner(owner)
  return lock == token
end

-- The same grant once more, for a request whose first answer may have been lost; nil where the token holds nothing.
local function granted_before(token)
  local seat, _, fence, since = lease_of(token)
  if not seat then return nil end
  local record = call('HGET', ACCOUNTS, (split_seat(seat)))
  if record and call('GET', LOCK .. seat) == token then
    return describe(token, seat, fence, since, call('ZSCORE', LEASES, token), record)
  end
  give_back(token, 0) -- it ended, or its account was removed, before the holder learned of it
end

-- Frees what has expired or rested long enough, the oldest first, so many at most; true if there may be more.
local function reclaim()
  local due = call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, BOUND)
  for _, token in ipairs(due) do
    local seat, owner, fence, _, purpose = lease_of(token)
    local lock = seat and call('GET', LOCK .. seat)
    if not seat then
      call('ZREM', LEASES, token)
    elseif lock == token or lock and owner == '?' then -- the lock decides
      call('ZADD', LEASES, now + left_of(seat), token)
    else
      end_lease(token, owner)
      record_event('expired', (split_seat(seat)), owner, fence, lock and 'somebody set its lock', token)
      if lock then
        adopt(seat)
      else
        leave_seat(seat, purpose, nil, true)
        tell_owner(owner)
      end
    end
  end
  if not extras then return #due == BOUND end
  local rested = call('ZRANGEBYSCORE', COOLING, '-inf', now, 'LIMIT', 0, BOUND)
  for _, seat in ipairs(rested) do
    call('ZREM', COOLING, seat)
    free(seat)
  end
  local unclaimed = policy.cleanup and NONE or call('ZRANGE', DIRTY, 0, BOUND - 1) -- there are no cleaners any more
  for _, seat in ipairs(unclaimed) do
    call('ZREM', DIRTY, seat)
    free(seat)
  end
  return #due == BOUND or #rested == BOUND or #unclaimed == BOUND
end
