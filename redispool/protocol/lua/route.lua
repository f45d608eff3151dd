-- Guarantees: the rule stands in the list once; one that stood there keeps its place.
-- Returns 1 if it was new, 0 if it was there, -1 if the list is full: nothing has changed then.
-- KEYS[1] NS:routes   ARGV[1] the rule, [2] how many rules there may be
local ROUTES, rule, most = KEYS[1], ARGV[1], tonumber(ARGV[2])
if redis.call('LPOS', ROUTES, rule) then return 0 end
if redis.call('LLEN', ROUTES) >= most then return -1 end
redis.call('RPUSH', ROUTES, rule)
return 1
