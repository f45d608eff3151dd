-- Guarantees: each account's free seats, and only those, can be had, whatever its max_sessions and labels were before.
--@include leases

-- Brings each seat that is neither held, resting nor to be cleaned into circulation; 'used': through the cleaners, if there are any.
local function circulate(name, record, used)
  for _, choice in ipairs(choices_of(record)) do call('SADD', CARRIERS .. choice, name) end
  if sessions_of(record) == 0 then free(name) end -- whoever holds it from before
  for number = 1, sessions_of(record) do
    local seat = seat_of(name, tostring(number))
    if call('EXISTS', LOCK .. seat) == 1 then
      adopt(seat)
      if extras then call('ZREM', COOLING, seat) end -- of when it was never locked, but is held from before
    elseif not call('ZSCORE', COOLING, seat) and not call('ZSCORE', DIRTY, seat) then
      if used and policy.cleanup then to_the_cleaners(seat) else free(seat) end
    end
  end
end

-- Takes the account out of all that tells of its free seats and of its labels.
local function retire(name, record)
  withdraw(name, record)
  note_surplus(name, sessions_of(record))
  for _, choice in ipairs(choices_of(record)) do call('SREM', CARRIERS .. choice, name) end
end

-- Forgets what the pool knew of an account that is a member no more.
local function forget_account(name, record)
  retire(name, record)
  if places_of('', name, 1) == 0 then call('HDEL', PLACES, name) end
  if not extras then return end
  for number = 1, math.max(sessions_of(record), 1) do
    call('ZREM', COOLING, seat_of(name, tostring(number)))
    call('ZREM', DIRTY, seat_of(name, tostring(number)))
  end
  call('HDEL', QUARANTINE, name)
  call('HDEL', REST, name)
  call('HDEL', HEALTH, 'failures:' .. name, 'uses:' .. name)
end
