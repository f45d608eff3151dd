-- Guarantees: who may only read (see redispool/acl.py) can do so; what has expired is left for others to reclaim then.
--@include open
local function may_write() return not redis.acl_check_cmd or redis.acl_check_cmd('ZREM', LEASES, '') end
