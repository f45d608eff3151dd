-- Guarantees: figures and leases as they were at one instant; a page of leases at a time.
-- Returns {now, accounts, free, held, cooling, waiting, to be cleaned, quarantined, policy, leases in the page,
-- then for each: token, expiry ms, lease}.
-- ARGV[3] first lease of the page, [4] last one
--@include leases
--@include reading
if may_write() then reclaim() end
local reply = {
  now, call('LLEN', MEMBERS), count_free(), call('ZCARD', LEASES),
  call('ZCARD', COOLING), call('HLEN', REQUESTS), call('ZCARD', DIRTY),
  call('HLEN', QUARANTINE), call('HGET', META, 'policy') or '',
}
local page = call('ZRANGE', LEASES, ARGV[3], ARGV[4], 'WITHSCORES')
reply[#reply + 1] = #page / 2
for i = 1, #page, 2 do
  reply[#reply + 1] = page[i]
  reply[#reply + 1] = page[i + 1]
  reply[#reply + 1] = call('HGET', HELD, page[i]) or ''
end
return reply
