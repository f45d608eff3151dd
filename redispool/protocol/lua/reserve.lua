-- Guarantees: the owner has all seats of the account until the time given, or nothing has changed.
-- Returns {'granted', now, grant, ...} | {'held', owner} | {'unknown'} | {'unlocked'}: the account is never locked | {'past'}: the time is over.
-- ARGV[3] token, [4] account, [5] owner, [6] until ms, [7] note, [8] '1': take it from who holds it, [9] who says so
--@include take
--@include administer
local name, owner, ends = ARGV[4], ARGV[5], tonumber(ARGV[6])
local request = {token = ARGV[3], owner = owner, ttl = ends - now, want = name, options = {purpose = 'reserved: ' .. ARGV[7]}}
reclaim()
local record = call('HGET', ACCOUNTS, name)
if not record then return {'unknown'} end
local sessions = sessions_of(record)
if sessions == 0 then return {'unlocked'} end
if request.ttl <= 0 then return {'past'} end

local last = math.max(sessions, surplus_of(name))
local before = {'granted', now}
for number = 1, last do
  local token = call('GET', LOCK .. seat_of(name, tostring(number)))
  if token == token_of(request, number) then
    before[#before + 1] = granted_before(token) -- by an earlier send
  elseif token and ARGV[8] ~= '1' then
    local _, holder = lease_of(token)
    return {'held', holder or '?'}
  end
end
if #before == 2 + sessions then return before end

need_extras()
call('SADD', RESERVED, name)
withdraw(name, record)
local reply = {'granted', now}
for number = 1, last do
  local seat = seat_of(name, tostring(number))
  local token = call('GET', LOCK .. seat)
  local _, holder, fence = lease_of(token or '')
  if holder then
    end_lease(token, holder)
    record_event('revoked', name, holder, fence, 'reserved by ' .. ARGV[9] .. ' for ' .. owner, token)
    tell_owner(holder)
  end
  end_lease('?' .. seat, '?') -- if an operator's lock was on it
  call('DEL', LOCK .. seat)
  call('ZREM', COOLING, seat)
  call('ZREM', DIRTY, seat)
  if number <= sessions then reply[#reply + 1] = grant(request, token_of(request, number), seat, record) end
end
record_event('reserved', name, caller, 0, 'for ' .. owner .. (ARGV[7] ~= '' and ': ' .. ARGV[7] or ''))
tell_next(QUEUE) -- who waits for several may hold up nobody any more
for _, choice in ipairs(choices_of(record)) do tell_next(queue_of(choice)) end
return reply
