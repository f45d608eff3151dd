-- Guarantees: no lease ends but those that have expired. Returns the owner's tokens, so many at most.
-- ARGV[3] owner, [4] how many
--@include leases
reclaim()
return call('SRANDMEMBER', OWNER .. ARGV[3], ARGV[4])
