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
  local record = call('HGET', ACCOUNTS, name)
  if not record then return nil end
  for _ = 1, BOUND do
    if places_of('', name, 1) <= 0 or pause() > 0 then return nil end
    local waiter, bounded = first_waiter(name, record, sessions_of(record) == 0)
    if barred(request, waiter, bounded) then return nil, bounded end
    leave_rotation(name, record)
    local mail = serve(request, waiter, name, record)
    if mail then return mail end
  end
  return nil, true
end

-- The next in turn that who asks may have; what he may not have, or others wait for, keeps its turn. The second result tells
-- that the bound was reached.
local function take_next(request)
  local choice, passed = request.want, {}
  local mail, more
  for step = 1, PASSED do
    if pause() > 0 then break end -- somebody else has been served
    local name
    name, more = next_account(choice)
    if not name then
      if step == 1 and choice == '' and not more then call('HDEL', META, 'more', 'stale') end -- whatever was counted: nothing is left
      break
    end
    local record = call('HGET', ACCOUNTS, name)
    if record then
      local waiter, bounded = first_waiter(name, record, sessions_of(record) == 0)
      local other = waiter and waiter.token ~= request.token
      if barred(request, waiter, bounded) or not other and not may_take(request, name) then
        passed[#passed + 1] = name
        more = bounded
        if bounded then break end
      else
        if extras then leave_rotation(name, record) end
        mail = serve(request, waiter, name, record)
        if mail then break end
        more = step == PASSED
      end
    end
  end
  for i = #passed, 1, -1 do undo_next(choice, passed[i]) end
  return mail, not mail and more
end

-- Takes the first accounts in turn that who asks may have and nobody else waits for, so many or none, from one rotation only.
local function pop_several(request, count)
  local popped, chosen, names, bounded = {}, {}, {}, nil
  for _ = 1, CROWD + count do
    local name
    name, bounded = next_account(request.want)
    if not name then break end
    popped[#popped + 1] = name
    local record, waiter = call('HGET', ACCOUNTS, name), nil
    if record and may_take(request, name) then
      waiter, bounded = first_waiter(name, record, sessions_of(record) == 0)
      if bounded then break end
      if not waiter or waiter.token == request.token then names[#names + 1], chosen[name] = name, true end
      if #names == count then break end
    end
  end
  for i = #popped, 1, -1 do
    if #names < count or not chosen[popped[i]] then undo_next(request.want, popped[i]) end
  end
  return #names == count and names, bounded
end

-- Takes several different accounts, or none; a list of grants.
local function take_several(request, count)
  if count_free() < count then return nil end
  local names, bounded = pop_several(request, count)
  if not names then return nil, bounded end
  local mails, failed = {}, false
  for i, name in ipairs(names) do
    local record = call('HGET', ACCOUNTS, name)
    leave_rotation(name, record)
    if failed then
      join_rotation(name, record)
    else
      mails[i] = grant_seat(request, token_of(request, i), name, record)
      failed = not mails[i] -- somebody else's lock is on it
    end
  end
  if not failed then return mails end
  for number = 1, #mails do give_back(token_of(request, number), 0, 'returned') end
  return nil, true
end

local function take_to_clean(request)
  for _ = 1, BOUND do
    local seat = call('ZPOPMIN', DIRTY)[1]
    if not seat then return nil end
    local name, number = split_seat(seat)
    local record = call('HGET', ACCOUNTS, name)
    local mail = record and is_vacant(name, number, record) and grant(request, request.token, seat, record)
    if mail then return mail end
  end
  return nil, true
end

-- The account that who asks would rather have, if it is free and may be had.
local function take_preferred(request)
  local name = request.options.prefer
  if name == true then name = call('GET', LAST .. request.owner) end
  local record = name and call('HGET', ACCOUNTS, name)
  if not record or not may_take(request, name) then return nil end
  if request.want ~= '' and not carries(labels_of(record), request.want) then return nil end
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
    if not mail then mail, more = take_next(request) end
  end
  return mail and {mail}, more
end
