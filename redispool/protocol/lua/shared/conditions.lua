-- Guarantees: an account is handed out only as the pool's policy and its own health allow, and never sooner.
-- POLICY (in META, JSON): cooldown, min_interval: ms; pace: microseconds from one hand-out to the next; max_failures, max_uses,
-- max_per_owner: numbers; cleanup: true; events: how many are kept. REST: account -> ms before which it is not handed out.
-- QUARANTINE: account -> 'AT\nBY\nREASON'. HEALTH: 'failures:NAME', 'uses:NAME' -> how many.
--@include seats
local CLEANUP = '\tcleanup\t'
local CROWD = 1000 -- waiters of a queue that one call looks at; those beyond learn it at their next slice

-- The seat comes back when the time has come.
local function rest(seat, back_at)
  need_extras()
  call('ZADD', COOLING, back_at, seat)
end

-- None of the account's seats comes back before then, unless it is to rest for longer anyway.
local function rest_until(name, back_at)
  need_extras()
  call('HSET', REST, name, math.max(back_at, tonumber(call('HGET', REST, name) or 0)))
end

-- The account's free seats rest, and what is held will after it.
local function rest_account(name, record, back_at)
  rest_until(name, back_at)
  for _, seat in ipairs(withdraw(name, record)) do rest(seat, back_at) end
end

-- Whether so many healthy ones are among those that carry the labels, but for some; a crowd is taken to have them.
local function has_healthy(choice, count, but)
  local carriers = CARRIERS .. choice
  local size = call('SCARD', carriers)
  if size > CROWD or size - call('HLEN', QUARANTINE) >= count + #but then return true end
  local left_out, healthy = {}, 0
  for _, name in ipairs(but) do left_out[name] = true end
  for _, name in ipairs(call('SRANDMEMBER', carriers, CROWD)) do
    if not left_out[name] and call('HEXISTS', QUARANTINE, name) == 0 then healthy = healthy + 1 end
    if healthy == count then return true end
  end
  return false
end

-- Whether leases in progress are all that somebody lacks who wants several: enough is neither quarantined nor reserved.
local function is_in_reach(request)
  local options, but = request.options, {}
  for _, name in ipairs(options.exclude or NONE) do but[#but + 1] = name end
  for _, name in ipairs(call('SRANDMEMBER', RESERVED, CROWD)) do
    local _, _, _, _, purpose = lease_of(call('GET', LOCK .. name) or '')
    if not purpose or string.sub(purpose, 1, 8) ~= 'reserved' then
      call('SREM', RESERVED, name) -- it was
    else
      local is_excluded = false
      for _, other in ipairs(options.exclude or NONE) do is_excluded = is_excluded or other == name end
      if not is_excluded then but[#but + 1] = name end
    end
  end
  if request.want ~= '' then return has_healthy(request.want, options.count, but) end
  local there = call('LLEN', MEMBERS) - call('HLEN', QUARANTINE)
  for _, name in ipairs(but) do
    if call('HEXISTS', ACCOUNTS, name) == 1 and call('HEXISTS', QUARANTINE, name) == 0 then there = there - 1 end
  end
  return there >= options.count
end

-- Why it is in vain to wait for accounts in turn, all or with labels: 'unknown', 'exhausted', or 'too many' and how many there are.
local function in_vain_for_any(request, patient)
  local options, by_labels = request.options, request.want ~= ''
  local count, excluded, out = options.count or 1, 0, call('HLEN', QUARANTINE)
  local most = by_labels and call('SCARD', CARRIERS .. request.want) or call('LLEN', MEMBERS)
  if most == 0 then return 'unknown' end
  local healthy = most - (by_labels and 0 or out)
  for _, name in ipairs(options.exclude or NONE) do
    local record = call('HGET', ACCOUNTS, name)
    if record and (not by_labels or carries(labels_of(record), request.want)) then
      most = most - 1
      if by_labels or call('HEXISTS', QUARANTINE, name) == 0 then healthy = healthy - 1 end
    end
  end
  local allowed = math.min(most, policy.max_per_owner or most)
  if count > allowed then return 'too many', allowed end
  if patient or out == 0 then return nil end
  if healthy < count or by_labels and not has_healthy(request.want, count, options.exclude or NONE) then return 'exhausted' end
end

-- Why it is in vain to wait for what is asked; nil where it may come. Who is patient waits for what is quarantined.
local function in_vain(request, patient)
  if call('EXISTS', MEMBERS) == 0 then return 'empty' end
  local want = request.want
  if want == CLEANUP then return not policy.cleanup and 'no cleanup' or nil end
  if want == '' or string.sub(want, 1, 1) == '\t' then
    if want == '' and not extras then return nil end
    return in_vain_for_any(request, patient)
  end
  if call('HEXISTS', ACCOUNTS, want) == 0 then return 'unknown' end
  if extras and not patient and call('HEXISTS', QUARANTINE, want) == 1 then return 'exhausted' end
end

-- Makes a waiter ask again, as what it was told is out of date.
local function wake(request)
  if request then send_mail(request, 'again\n' .. request.token, request.ttl) end
end

-- Makes the waiters of a queue ask again.
local function wake_all(queue)
  for _, token in ipairs(call('ZRANGE', queue, 0, CROWD - 1)) do wake(request_of(token)) end
end

-- Makes those of a queue ask again who wait in vain since an account has gone, so that they learn it.
local function wake_hopeless(queue)
  for _, token in ipairs(call('ZRANGE', queue, 0, CROWD - 1)) do
    local request = request_of(token)
    if request and in_vain(request, request.options.patient) then wake(request) end
  end
end

local function quarantine(name, record, reason, by)
  need_extras()
  call('HSET', QUARANTINE, name, table.concat({now, by, reason}, '\n'))
  withdraw(name, record)
  for number = 1, sessions_of(record) do
    call('ZREM', COOLING, seat_of(name, tostring(number)))
    call('ZREM', DIRTY, seat_of(name, tostring(number)))
  end
  record_event('quarantined', name, by, 0, reason)
  wake_hopeless(QUEUE)
  wake_hopeless(queue_of(name))
  for _, choice in ipairs(choices_of(record)) do wake_hopeless(queue_of(choice)) end
end

-- What is to be noted when an account was handed out.
local function handed_out(request, name, record)
  if policy.pace then
    local next_at = math.max(clock[1] * 1000000 + clock[2], tonumber(call('HGET', META, 'next_at') or 0)) + policy.pace
    call('HSET', META, 'next_at', whole(next_at))
  end
  if policy.min_interval then rest_account(name, record, now + policy.min_interval) end
  if policy.max_uses and call('HINCRBY', HEALTH, 'uses:' .. name, 1) >= policy.max_uses then
    quarantine(name, record, 'used ' .. policy.max_uses .. ' times: rotate its password and restore it', 'pool')
  end
  if request.options.prefer == true then call('SET', LAST .. request.owner, name, 'PX', 86400000) end
end

-- Whether who asks may have the account, as he excluded none and has not got all that he may have.
local function may_take(request, name)
  for _, other in ipairs(request.options.exclude or NONE) do
    if other == name then return false end
  end
  if not policy.max_per_owner or request.want == CLEANUP then return true end
  local held = redis.pcall('SCARD', OWNER .. request.owner)
  return (tonumber(held) or 0) + (request.options.count or 1) <= policy.max_per_owner
end

-- Locks the seat for the token and records the lease; the grant as the holder is told it, or nil if the seat is locked.
local function grant(request, token, seat, record)
  if not call('SET', LOCK .. seat, token, 'PX', request.ttl, 'NX') then
    adopt(seat)
    return nil
  end
  return record_lease(next_fence(), token, (split_seat(seat)), seat, request.owner, request.ttl, request.options.purpose or '', record,
    request.since)
end

-- Grants a free seat of an account that has just been taken out of the rotation, and returns it there if more seats are left.
local function grant_seat(request, token, name, record)
  local sessions = sessions_of(record)
  if sessions == 0 then
    join_rotation(name, record)
    if extras then handed_out(request, name, record) end
    return describe(token, name, 0, now, 0, record)
  end
  local result, number, has_more
  repeat
    number = sessions == 1 and '1' or redis.pcall('LPOP', IDLE .. name)
    if type(number) == 'table' then -- it is of another type: the account keeps a turn, and the caller is told
      join_rotation(name, record)
      call('LPOP', IDLE .. name)
    elseif number then
      has_more = sessions > 1 and call('EXISTS', IDLE .. name) == 1
      if has_more then tally('more', -1) end
      result = grant(request, token, seat_of(name, number), record)
    end
  until result or not number or sessions == 1
  if has_more then join_rotation(name, record) end
  if result and extras then handed_out(request, name, record) end
  return result
end
