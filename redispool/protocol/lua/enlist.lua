-- Guarantees: when the cursor is 0 again, OWNER tells of every lease, and will from now on; until then, of those that are new. Bounded.
-- Returns {cursor}.
-- ARGV[3] cursor, '0' to begin
--@include held
local cursor = ARGV[3]
if not by_owner then -- or not any more, as the pool was reset meanwhile
  cursor, by_owner = '0', '0'
  call('HSET', META, 'owners', by_owner)
end
local page = call('HSCAN', HELD, cursor, 'COUNT', 200)
for i = 1, #page[2], 2 do
  local owner = string.match(page[2][i + 1], '^.-\n(.-)\n')
  if owner then list_lease(page[2][i], owner) end
end
if page[1] == '0' then call('HSET', META, 'owners', '1') end
return {page[1]}
