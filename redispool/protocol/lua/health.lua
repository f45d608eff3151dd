-- Guarantees: the account is as healthy as was said, for every host; what is quarantined is out of the rotation from now on.
-- Returns {'done', failures, 1 if it is quarantined} | {'unknown'}.
-- ARGV[3] 'bad', 'good', 'quarantine' or 'restore', [4] account, [5] reason, [6] who says so, [7] ms to rest, '' for none,
-- [8] a token of this request, so that what is sent twice counts once
--@include members
local what, name, reason, by, rests = ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
if what == 'quarantine' or what == 'restore' then
--@include administer
end
reclaim()
local record = call('HGET', ACCOUNTS, name)
if not record then return {'unknown'} end
need_extras()
local is_out = call('HEXISTS', QUARANTINE, name) == 1
local failures = tonumber(call('HGET', HEALTH, 'failures:' .. name) or 0)

local function put_out(why)
  if is_out then return end
  is_out = true
  quarantine(name, record, why, by)
end

if what == 'good' and failures == 0 then return {'done', 0, is_out and 1 or 0} end  -- nothing to forget, also by who was told
if not call('SET', TOLD .. ARGV[8], '1', 'NX', 'PX', 600000) then return {'done', failures, is_out and 1 or 0} end
if what == 'bad' then
  failures = call('HINCRBY', HEALTH, 'failures:' .. name, 1)
  record_event('bad', name, by, 0, reason)
  if rests then rest_account(name, record, now + rests) end
  if policy.max_failures and failures >= policy.max_failures then put_out(reason) end
elseif what == 'good' then
  failures = 0
  call('HDEL', HEALTH, 'failures:' .. name)
elseif what == 'quarantine' then
  put_out(reason)
else
  failures = 0
  call('HDEL', HEALTH, 'failures:' .. name, 'uses:' .. name)
  call('HDEL', REST, name)
  if is_out then
    is_out = false
    call('HDEL', QUARANTINE, name)
    record_event('restored', name, by, 0, reason)
    circulate(name, record, true)
  end
end
return {'done', failures, is_out and 1 or 0}
