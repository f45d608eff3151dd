-- Guarantees: what the owner holds of the account, or with force what anybody holds of it, is released.
-- Returns {'done', how many, owner of what was left} | {'unknown'}.
-- ARGV[3] account, [4] owner, [5] '1': force, [6] who says so, [7] a token of this request, so that it says the same when it is sent twice
--@include members
reclaim()
local name, owner, force, told = ARGV[3], ARGV[4], ARGV[5] == '1', TOLD .. ARGV[7]
if force then
--@include administer
end
local before = call('GET', told)
if before then return {'done', tonumber(before), ''} end
local record = call('HGET', ACCOUNTS, name)
if not record then return {'unknown'} end
local ended, holders, others = {}, {}, ''
for number = 1, math.max(sessions_of(record), surplus_of(name)) do
  local seat = seat_of(name, tostring(number))
  local token = call('GET', LOCK .. seat)
  if token and not lease_of(token) then -- an operator's own lock
    adopt(seat)
    token = '?' .. seat
  end
  local _, holder = lease_of(token or '')
  if holder and (force or holder == owner) then
    ended[#ended + 1] = token
    holders[token] = holder
  elseif holder then
    others = holder
  end
end
for _, token in ipairs(ended) do -- all were found before the first goes: holders of seats that are no more move to those that come free
  if holders[token] == owner then give_back(token) else give_back(token, nil, 'revoked', 'forced by ' .. ARGV[6]) end
end
local count = #ended
if count > 0 then call('SET', told, count, 'PX', 600000) end
return {'done', count, others}
