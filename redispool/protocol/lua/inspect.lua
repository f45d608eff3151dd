-- Guarantees: figures and leases as they were at one instant; a page of leases at a time.
-- Returns {now, accounts, free, held, cooling, waiting, to be cleaned, quarantined, policy, leases in the page,
-- then for each: token, expiry ms, lease}.
-- ARGV[3] first lease of the page, [4] last one
--@include leases
--@include reading
if may_write() then reclaim() end
local reply = {
  now, redis.call('LLEN', MEMBERS), tonumber(redis.call('HGET', META, 'free') or 0), redis.call('ZCARD', LEASES),
  redis.call('ZCARD', COOLING), redis.call('HLEN', REQUESTS), redis.call('ZCARD', DIRTY),
  redis.call('HLEN', QUARANTINE), settings[3] or '',
}
local page = redis.call('ZRANGE', LEASES, ARGV[3], ARGV[4], 'WITHSCORES')
reply[#reply + 1] = #page / 2
for i = 1, #page, 2 do
  reply[#reply + 1] = page[i]
  reply[#reply + 1] = page[i + 1]
  reply[#reply + 1] = redis.call('HGET', HELD, page[i]) or ''
end
return reply
