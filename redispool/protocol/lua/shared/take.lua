-- Guarantees: an account that is free goes to who waits for it before it goes to who asks now; several are taken all or none.
--@include members

local function token_of(request, number)
  if number == 1 then return request.token end
  return request.token .. '/' .. number
end

-- Grants a seat of an account, taken out of its rotations, to the first who waits for it, or to who asks; the mail if he got it.
local function serve(request, waiter, name, record)
  local other = waiter and waiter.token ~= request.token
  local mail = grant_seat(other and waiter or request, other and waiter.token or request.token, name, record)
  if not other then return mail end
  if mail then post(waiter, mail, waiter.ttl) end
end

-- Whether who waits for the account bars who asks: he wants several, or cannot be found within the bound.
local function barred(request, waiter, bounded)
  return bounded or (waiter and waiter.token ~= request.token and wants_several(waiter))
end

local function take_particular(request, name)
  local record = redis.call('HGET', ACCOUNTS, name)
  if not record then return nil end
  for _ = 1, BOUND do
    if tonumber(redis.call('HGET', PLACES, name) or 0) <= 0 then return nil end
    if sessions_of(record) == 0 then return describe(request.token, name, 0, now, 0, record) end
    local waiter, bounded = first_waiter(name, record)
    if barred(request, waiter, bounded) then return nil, bounded end
    leave_rotation(name, record)
    local mail = serve(request, waiter, name, record)
    if mail then return mail end
  end
  return nil, true
end

-- The next in turn; the second result tells that the bound was reached.
local function take_next(request)
  local choice = request.want
  for _ = 1, BOUND do
    local name, more = next_account(choice)
    if not name then return nil, more end
    local record = redis.call('HGET', ACCOUNTS, name)
    if record then
      local waiter, bounded = first_waiter(name, record)
      if barred(request, waiter, bounded) then
        undo_next(choice, name)
        return nil, bounded
      end
      if extras then leave_rotation(name, record) end
      local mail = serve(request, waiter, name, record)
      if mail then return mail end
    end
  end
  return nil, true
end

-- The first accounts in turn that who asks may have, so many at most.
local function find_allowed(request, count)
  local rotation, places_in = ROTATION .. request.want, PLACES .. request.want
  local names, seen = {}, {}
  for start = 0, 900, 100 do
    local page = redis.call('LRANGE', rotation, start, start + 99)
    for _, name in ipairs(page) do
      seen[name] = (seen[name] or 0) + 1
      -- of an account's entries, the last is its turn
      if seen[name] == tonumber(redis.call('HGET', places_in, name) or 0) and may_take(request, name) then
        names[#names + 1] = name
        if #names == count then return names end
      end
    end
    if #page < 100 then break end
  end
  return names
end

-- Takes several different accounts, or none; a list of grants.
local function take_several(request, count)
  local names = find_allowed(request, count)
  if #names < count then return nil end
  local records = {}
  for i, name in ipairs(names) do
    records[i] = redis.call('HGET', ACCOUNTS, name)
    local waiter, bounded = first_waiter(name, records[i])
    if bounded or (waiter and waiter.token ~= request.token) then return nil, bounded end
  end
  local mails = {}
  for i, name in ipairs(names) do
    if sessions_of(records[i]) > 0 then leave_rotation(name, records[i]) end
    mails[i] = sessions_of(records[i]) == 0 and describe(request.token, name, 0, now, 0, records[i])
      or grant_seat(request, token_of(request, i), name, records[i])
    if not mails[i] then -- somebody else's lock is on it
      for number = 1, i - 1 do give_back(token_of(request, number), 0, 'returned') end
      return nil, true
    end
  end
  return mails
end

local function take_to_clean(request)
  for _ = 1, BOUND do
    local seat = redis.call('ZPOPMIN', DIRTY)[1]
    if not seat then return nil end
    local name, number = split_seat(seat)
    local record = redis.call('HGET', ACCOUNTS, name)
    local mail = record and is_vacant(name, number, record) and grant(request, request.token, seat, record)
    if mail then return mail end
  end
  return nil, true
end

-- The account that who asks would rather have, if it is free and may be had.
local function take_preferred(request)
  local name = request.options.prefer
  if name == true then name = redis.call('GET', LAST .. request.owner) end
  local record = name and redis.call('HGET', ACCOUNTS, name)
  if not record or not may_take(request, name) then return nil end
  local labels = string.match(record, '^%d+(\t[^\n]*)') or ''
  if request.want ~= '' and not carries(labels, request.want) then return nil end
  return take_particular(request, name)
end

-- Takes what is asked for, if it is free: a list of grants, or nil; the second result tells that the bound was reached.
local function take(request)
  local options, want = request.options, request.want
  if want == CLEANUP then
    local mail, more = take_to_clean(request)
    return mail and {mail}, more
  end
  if extras and (pause() > 0 or not may_take(request, '')) then return nil end
  if (options.count or 1) > 1 then return take_several(request, options.count) end
  local mail, more
  if want ~= '' and string.sub(want, 1, 1) ~= '\t' then
    mail, more = take_particular(request, want)
  else
    if options.prefer then mail = take_preferred(request) end
    if not mail and options.exclude then
      local allowed = find_allowed(request, 1)
      if allowed[1] then mail, more = take_particular(request, allowed[1]) end
    elseif not mail then
      mail, more = take_next(request)
    end
  end
  return mail and {mail}, more
end
