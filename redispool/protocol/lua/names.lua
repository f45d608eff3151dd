-- Guarantees: a page of the members, or of the rotation with the stale entries marked, as it was at one instant.
-- Returns {places, name, places, name, ...}: what PLACES counts for it; first, since a name may be any word, 'mismatch' too.
-- ARGV[3] 'members' or 'rotation', [4] first entry of the page, [5] last one
--@include leases
--@include reading
if ARGV[3] == 'rotation' and may_write() then reclaim() end
local reply = {}
for _, name in ipairs(call('LRANGE', POOL .. ARGV[3], ARGV[4], ARGV[5])) do
  reply[#reply + 1] = tonumber(call('HGET', PLACES, name) or 0) or 0
  reply[#reply + 1] = name
end
return reply
