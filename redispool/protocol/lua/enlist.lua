-- Guarantees: once 1 is returned, OWNER tells of every lease, and will from now on; until then, of those that are new or renewed.
-- Bounded, but for leases that end in one millisecond.
-- How far it came is in META, whoever calls: by when leases end, which means the same on every server.
-- Returns {1} | {0}: call it again.
-- No arguments but ARGV[1] and [2], which all scripts have (see shared/settings.lua)
--@include held
local PAGE = 200
if by_owner == 'all' or call('EXISTS', LEASES) == 0 then return {1} end
by_owner = by_owner or '-inf' -- so it is again, if the pool was reset meanwhile
local page = call('ZRANGEBYSCORE', LEASES, by_owner, '+inf', 'WITHSCORES', 'LIMIT', 0, PAGE)
local is_last, from = #page < 2 * PAGE, page[#page]
if not is_last and page[2] == from then -- more may end in that instant
  page = call('ZRANGEBYSCORE', LEASES, from, from, 'WITHSCORES')
  from = '(' .. from
end
for i = 1, #page, 2 do
  local _, owner = lease_of(page[i])
  if owner then list_lease(page[i], owner) end
end
need_settings()
call('HSET', META, 'owners', is_last and 'all' or from)
return {is_last and 1 or 0}
