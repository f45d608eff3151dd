-- Guarantees: a page of the members, or of the rotation with the stale entries marked, as it was at one instant.
-- Returns {name, places, name, places, ...}: what PLACES counts for it.
-- ARGV[3] 'members' or 'rotation', [4] first entry of the page, [5] last one
--@include open
local reply = {}
for _, name in ipairs(redis.call('LRANGE', POOL .. ARGV[3], ARGV[4], ARGV[5])) do
  reply[#reply + 1] = name
  reply[#reply + 1] = tonumber(redis.call('HGET', PLACES, name) or 0)
end
return reply
