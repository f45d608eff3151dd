-- Guarantees: each token's lease is over, and its seat is with the first waiter, in the rotation, or resting; others' leases are untouched.
-- Returns for each token 1 (released now) or 0 (it held nothing any more).
-- ARGV[3] cooldown ms, '' for the pool's, [4...] tokens
--@include leases
local cooldown = tonumber(ARGV[3])
local released = {}
for i = 4, #ARGV do released[#released + 1] = give_back(ARGV[i], cooldown) and 1 or 0 end
return released
