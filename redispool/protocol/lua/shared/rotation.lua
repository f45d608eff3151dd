-- Guarantees: in each rotation that an account is in it has one turn at most; its other entries there are stale, and skipped.
-- There is the rotation of all accounts, '', and one for each choice of labels that was asked for: '\tNAME=VALUE\t...'.
-- PLACES counts an account's entries in a rotation: n > 0, the last of n is its turn and the others are stale; -n, all n are stale; 0: it has none.
-- META counts in 'stale' the stale entries of the rotation of all, and in 'more' the free seats of accounts beyond the first of each.
-- A record is 'SESSIONS[\tNAME=VALUE\t...]\n...'; 0 sessions: the account is never locked.
--@include names
local BOUND = 64 -- steps that one call may spend on what others left behind

-- What is no record counts as one of a simple account: whoever is given it says what is wrong, and nothing is lost.
local function sessions_of(record) return math.min(tonumber(string.match(record, '^(%d+)[\t\n]') or 1), 10000) end

-- '\tNAME=VALUE\t...', '' for none
local function labels_of(record) return string.match(record, '^%d+(\t[^\n]*)') or '' end

local function carries(labels, choice)
  for pair in string.gmatch(choice, '[^\t]+') do
    if not string.find(labels, '\t' .. pair .. '\t', 1, true) then return false end
  end
  return true
end

-- The choices of labels that the account answers to. CHOICES has them by their first pair, line by line.
local function choices_of(record)
  local labels = extras and labels_of(record) or ''
  if labels == '' then return NONE end
  local pairs_of, found = {}, {}
  for pair in string.gmatch(labels, '[^\t]+') do pairs_of[#pairs_of + 1] = pair end
  for _, known in ipairs(call('HMGET', CHOICES, unpack(pairs_of))) do
    for choice in string.gmatch(known or '', '[^\n]+') do
      if carries(labels, choice) then found[#found + 1] = choice end
    end
  end
  return found
end

local function tally(what, change)
  if change ~= 0 and type(redis.pcall('HINCRBY', META, what, change)) ~= 'number' then call('HSET', META, what, 0) end
end

local function count_free()
  local counted = call('HMGET', META, 'more', 'stale')
  return call('LLEN', ROTATION) + (tonumber(counted[1] or 0) or 0) - (tonumber(counted[2] or 0) or 0)
end

-- What PLACES counts for the account; 'garbled' (0 if not given) where somebody has written what is no such number.
local function places_of(choice, name, garbled)
  local places = call('HGET', PLACES .. choice, name)
  if not places or places == '0' then return 0 end
  return string.match(places, '^-?[1-9]%d?%d?%d?%d?%d?$') and tonumber(places) or garbled or 0
end

-- Whether one more entry might let a rotation grow beyond twice the accounts, now or when others join it too.
local function too_many_stale(choice)
  if choice == '' then return (tonumber(call('HGET', META, 'stale') or 0) or 0) > call('LLEN', MEMBERS) end
  return call('LLEN', ROTATION .. choice) >= 2 * call('HLEN', PLACES .. choice)
end

-- Puts the account at the end of one rotation, unless it has its turn there already.
-- Where accounts were taken from the middle so often that the list might grow beyond twice their number, its last stale entry is revived.
local function join(choice, name)
  local rotation, places_in = ROTATION .. choice, PLACES .. choice
  local places = redis.pcall('HINCRBY', places_in, name, 1)
  if type(places) ~= 'number' then -- garbled; at the worst, an old entry gives the account its turn too early
    call('HSET', places_in, name, 1)
    places = 1
  end
  if places == 1 then
    call('RPUSH', rotation, name)
  elseif places > 1 then
    call('HSET', places_in, name, places - 1)
  else
    local stale = 1 - places
    if too_many_stale(choice) then
      call('HSET', places_in, name, stale)
      if choice == '' then tally('stale', -1) end
    else
      call('RPUSH', rotation, name)
      call('HSET', places_in, name, stale + 1)
    end
  end
end

-- Takes the account's turn in one rotation away, from wherever it is: its entries become stale.
local function leave(choice, name)
  local places = places_of(choice, name)
  if places <= 0 then return end
  call('HSET', PLACES .. choice, name, -places)
  if choice == '' then tally('stale', 1) end
end

local function join_rotation(name, record)
  join('', name)
  for _, choice in ipairs(choices_of(record)) do join(choice, name) end
end

local function leave_rotation(name, record)
  leave('', name)
  for _, choice in ipairs(choices_of(record)) do leave(choice, name) end
end

-- The account whose turn it is, or nil; its entry is gone from the rotation. The second result tells that the bound was reached.
local function next_account(choice)
  for _ = 1, BOUND do
    local name = call('LPOP', ROTATION .. choice)
    if not name then return nil end
    local places = places_of(choice, name, 1) -- rather an old entry than none
    if places == 1 or places == -1 then
      call('HDEL', PLACES .. choice, name)
    elseif places ~= 0 then
      call('HINCRBY', PLACES .. choice, name, places > 0 and -1 or 1)
    end
    if places == 1 then return name end
    if choice == '' and places ~= 0 then tally('stale', -1) end
  end
  return nil, true
end

-- Gives an account that has just been taken by next_account its turn back: what had its turn next has no other entry.
local function undo_next(choice, name)
  call('LPUSH', ROTATION .. choice, name)
  call('HSET', PLACES .. choice, name, 1)
end
