-- Guarantees: nothing changes; what is told was so at one instant, and no process under way explains it. Bounded: a page at a time.
-- Returns {next cursor, 'end' after the last page; for each disagreement: what it is about, what is wrong, 0, or ms after which to ask
-- again, as it is none if it is not told again}.
-- ARGV[3] what to look at (see SECTIONS), [4] cursor, '0' to begin
--@include seats
local PAGE, SEATS, MOST = 100, 500, 2000 -- entries of a page, seats looked at in a call, entries that are counted in one call
local PRESENCE = 30000 -- ms within which who waits asks again; who said that he is away for longer is left alone
local GRACE = 1000 -- ms by which the clocks of a lock and of its lease's index may differ
local reply = {'end'}

local function report(subject, wrong, ms)
  reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = subject, wrong, ms or 0
end

local function is_turn(choice, name) return tonumber(call('HGET', PLACES .. choice, name) or 0) > 0 end

local function lock_of(seat)
  local kind = call('TYPE', LOCK .. seat).ok
  if kind == 'string' then return call('GET', LOCK .. seat) end
  if kind ~= 'none' then report(seat, 'its lock is a ' .. kind) end
end

-- The seats whose leases are over and not reclaimed yet; nil if there are too many to look at.
local function expired_seats()
  local seats = {}
  local due = call('ZRANGEBYSCORE', LEASES, '-inf', now + GRACE, 'LIMIT', 0, SEATS + 1)
  for _, token in ipairs(due) do
    local seat = lease_of(token)
    if seat then seats[seat] = true end
  end
  return #due <= SEATS and seats or nil
end

-- A seat is free, held, resting, to be cleaned, or out with its account, and one of these only.
local function check_seat(name, number, free, is_out, expired)
  local seat = seat_of(name, tostring(number))
  local lock, where = lock_of(seat), {}
  for _ = 1, free do where[#where + 1] = 'free' end
  if lock and lease_of(lock) == seat then where[#where + 1] = 'held' end
  if call('HEXISTS', HELD, '?' .. seat) == 1 then where[#where + 1] = 'locked by hand' end
  if call('ZSCORE', COOLING, seat) then where[#where + 1] = 'cooling' end
  if call('ZSCORE', DIRTY, seat) then where[#where + 1] = 'to be cleaned' end
  if #where > 1 then report(seat, 'it is in two places: ' .. table.concat(where, ', ')) end
  if #where > 0 or is_out then return end
  if lock then
    report(seat, 'it is locked, but no lease tells of it')
  elseif expired and not expired[seat] then
    report(seat, 'it is neither free, held, cooling, to be cleaned nor quarantined')
  end
end

local function check_unlocked(name, is_out)
  if is_turn('', name) or is_out or call('ZSCORE', COOLING, name) or call('ZSCORE', DIRTY, name) then return end
  report(name, 'it is never locked, but has no turn, and neither rests nor is quarantined')
end

local function check_turns(name, record, is_out)
  local has_turn = is_turn('', name)
  if has_turn and is_out then report(name, 'it is quarantined, but has its turn') end
  if sessions_of(record) > 1 and has_turn ~= (call('EXISTS', IDLE .. name) == 1) then
    report(name, 'it has a turn and no free seat, or the reverse')
  end
  for _, choice in ipairs(choices_of(record)) do
    if call('HEXISTS', CHOICES, choice) == 1 then
      if is_turn(choice, name) ~= has_turn then report(name, 'its turn among all is not that of those with its labels') end
      if call('SISMEMBER', CARRIERS .. choice, name) == 0 then report(name, 'it is not listed under its labels') end
    end
  end
  for _, token in ipairs(call('ZRANGE', queue_of(name), 0, PAGE - 1)) do
    if call('HEXISTS', REQUESTS, token) == 0 then report(token, 'it is in a queue without a request') end
  end
end

-- How often each seat of an account is free.
local function free_seats(name, sessions)
  if sessions == 1 then return {['1'] = is_turn('', name) and 1 or 0} end
  local free = {}
  for _, number in ipairs(call('LRANGE', IDLE .. name, 0, -1)) do free[number] = (free[number] or 0) + 1 end
  return free
end

-- The cursor is 'MEMBER:SEAT'.
local function accounts(cursor)
  local start, first = string.match(cursor, '^(%d+):?(%d*)$')
  start, first = tonumber(start), tonumber(first) or 1
  local names = call('LRANGE', MEMBERS, start, start + PAGE - 1)
  local expired, budget = expired_seats(), SEATS
  for i, name in ipairs(names) do
    local record = call('HGET', ACCOUNTS, name)
    if not record then
      report(name, 'it is a member without a record')
    else
      local sessions, is_out = sessions_of(record), call('HEXISTS', QUARANTINE, name) == 1
      local free = free_seats(name, sessions)
      if first == 1 then check_turns(name, record, is_out) end
      if sessions == 0 then check_unlocked(name, is_out) end
      for number = first, sessions do
        if budget == 0 then return (start + i - 1) .. ':' .. number end
        budget = budget - 1
        check_seat(name, number, free[tostring(number)] or 0, is_out, expired)
      end
    end
    first = 1
  end
  return #names == PAGE and tostring(start + PAGE) or 'end'
end

local function check_places(choice)
  local counted = {}
  for _, name in ipairs(call('LRANGE', ROTATION .. choice, 0, -1)) do counted[name] = (counted[name] or 0) + 1 end
  local places = call('HGETALL', PLACES .. choice)
  for i = 1, #places, 2 do
    local name, count = places[i], math.abs(tonumber(places[i + 1]))
    if (counted[name] or 0) ~= count then
      report(name, 'it has ' .. (counted[name] or 0) .. ' entries in a rotation, and ' .. count .. ' are counted')
    end
    counted[name] = nil
  end
  for name in pairs(counted) do report(name, 'its entries in a rotation are not counted') end
end

local function totals()
  local members, free = call('LLEN', MEMBERS), count_free()
  if members ~= call('HLEN', ACCOUNTS) then report('members', 'they are not as many as there are records') end
  if members ~= call('HLEN', HASHES) then report('members', 'they are not as many as there are hashes') end
  if call('HLEN', HELD) ~= call('ZCARD', LEASES) then report('leases', 'they are not as many as their index tells') end
  if call('LLEN', ROTATION) <= MOST then check_places('') end
  if members > MOST / 2 then return 'end' end
  local counted = 0
  for _, name in ipairs(call('LRANGE', MEMBERS, 0, -1)) do
    if is_turn('', name) then counted = counted + math.max(call('LLEN', IDLE .. name), 1) end
  end
  if counted ~= free then report('free', free .. ' seats are said to be free, and ' .. counted .. ' are') end
  return 'end'
end

-- Pages through a hash or a sorted set; 'check' gets each field and value.
local function scan(command, key, cursor, check)
  local page = call(command, key, cursor, 'COUNT', PAGE)
  for i = 1, #page[2], 2 do check(page[2][i], page[2][i + 1]) end
  return page[1] == '0' and 'end' or page[1]
end

local function check_lease(token, expires)
  local seat, owner = lease_of(token)
  if not seat then return report(token, 'the index of leases names it, but it is none') end
  if by_owner == 'all' and call('SISMEMBER', OWNER .. owner, token) == 0 then report(token, 'its owner is not told of its lease') end
  local lock = lock_of(seat)
  if lock == token then
    if call('PTTL', LOCK .. seat) == -1 then report(seat, 'its lock has no end') end
  elseif owner ~= '?' and tonumber(expires) > now + GRACE then
    report(seat, lock and 'its lock is not that of its lease' or 'it has a lease, but no lock')
  end
end

local function check_held(token)
  if not call('ZSCORE', LEASES, token) then report(token, 'its lease is not in the index of leases, so it never ends') end
end

local function check_request(token)
  local request = request_of(token)
  if not call('ZSCORE', queue_of(request.want), token) then return report(token, 'it waits in no queue') end
  local left = request.lives_until and math.max(request.lives_until - now, 0) or call('PTTL', ALIVE .. request.box)
  if left == -1 then report(token, 'the presence of its mailbox has no end') end
  -- with extras, who waits for several, or the policy, may hold up who could have what is free
  if extras or left <= 0 or left > PRESENCE or call('EXISTS', MAIL .. request.box) == 1 then return end
  local free = request.want == '' and count_free() > 0 or is_turn('', request.want)
  if free then report(token, 'it waits for what is free', left + 1) end -- by then it has asked again, or is gone
end

local function check_queued(token)
  if call('HEXISTS', REQUESTS, token) == 0 then report(token, 'it is in a queue without a request') end
end

local function check_quarantined(name)
  if call('HEXISTS', ACCOUNTS, name) == 0 then report(name, 'it is quarantined, but no member') end
end

local function check_hash(_, name)
  if call('HEXISTS', ACCOUNTS, name) == 0 then report(name, 'it has a hash, but is no member') end
end

local function check_choice(choice)
  if string.sub(choice, 1, 1) == '\t' and call('LLEN', ROTATION .. choice) <= SEATS then check_places(choice) end
end

local SECTIONS = {
  accounts = accounts,
  totals = totals,
  leases = function(cursor) return scan('ZSCAN', LEASES, cursor, check_lease) end,
  held = function(cursor) return scan('HSCAN', HELD, cursor, check_held) end,
  requests = function(cursor) return scan('HSCAN', REQUESTS, cursor, check_request) end,
  queue = function(cursor) return scan('ZSCAN', QUEUE, cursor, check_queued) end,
  quarantine = function(cursor) return scan('HSCAN', QUARANTINE, cursor, check_quarantined) end,
  hashes = function(cursor) return scan('HSCAN', HASHES, cursor, check_hash) end,
  choices = function(cursor) return scan('HSCAN', CHOICES, cursor, check_choice) end,
}
reply[1] = SECTIONS[ARGV[3]](ARGV[4])
return reply
