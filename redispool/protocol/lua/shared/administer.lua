-- Guarantees: who may not write the records (see redispool/acl.py) is refused before anything changes; the audit trail tells who did what.
--@include open
if redis.acl_check_cmd and not redis.acl_check_cmd('HSET', ACCOUNTS, '', '') then
  return redis.error_reply('NOPERM this user may not administer the pool; see redispool acl')
end
local caller = string.match(ARGV[2], '\n(.*)$') or ''

-- Writes to the audit trail what became of accounts: one entry each, or one for a crowd.
local function record_change(event, names, why)
  if #names > 20 then return record_event(event, '', caller, 0, #names .. ' accounts') end
  for _, name in ipairs(names) do record_event(event, name, caller, 0, why) end
end
