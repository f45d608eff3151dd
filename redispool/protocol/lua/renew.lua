-- Guarantees: only a lease whose lock is still the token's own lives on, and never beyond its max_lease; what expired is reclaimed.
-- Returns {now, expiry of the first token in ms (0: it is over), of the second, ...}.
-- ARGV[3...] for each lease: token, ttl ms, max_lease ms (0: no limit)
--@include leases
local expiries = {now}
for i = 3, #ARGV, 3 do
  local token, expires, limit = ARGV[i], now + ARGV[i + 1], tonumber(ARGV[i + 2])
  local seat, owner, _, since = lease_of(token)
  if limit > 0 and since then expires = math.min(expires, since + limit) end
  if seat and expires > now and call('GET', LOCK .. seat) == token then
    call('PEXPIRE', LOCK .. seat, expires - now)
    call('ZADD', LEASES, expires, token)
    if by_owner ~= 'all' then list_lease(token, owner) end -- enlist.lua may be past its new end
    expiries[#expiries + 1] = expires
  else
    expiries[#expiries + 1] = 0
  end
end
reclaim()
return expiries
