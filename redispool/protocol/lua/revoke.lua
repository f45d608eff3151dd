-- Guarantees: what the owner holds of the account, or with force what anybody holds of it, is released.
-- Returns {'done', how many, owner of what was left} | {'unknown'}.
-- ARGV[3] account, [4] owner, [5] '1': force, [6] who says so
--@include members
reclaim()
local name, owner, force = ARGV[3], ARGV[4], ARGV[5] == '1'
if force then
--@include administer
end
local record = redis.call('HGET', ACCOUNTS, name)
if not record then return {'unknown'} end
local count, others = 0, ''
for number = 1, math.max(sessions_of(record), surplus_of(name)) do
  local token = redis.call('GET', LOCK .. seat_of(name, tostring(number)))
  local _, holder = lease_of(token or '')
  if holder and (force or holder == owner) then
    if holder == owner then give_back(token) else give_back(token, nil, 'revoked', 'forced by ' .. ARGV[6]) end
    count = count + 1
  elseif holder then
    others = holder
  end
end
return {'done', count, others}
