-- Guarantees: no lease ends but those that have expired.
-- Returns {'owned', the owner's tokens, so many at most} | {'unlisted'}: nobody ever asked for what an owner has, see enlist.lua.
-- ARGV[3] owner, [4] how many
--@include leases
reclaim()
if by_owner ~= 'all' then return {call('EXISTS', LEASES) == 1 and 'unlisted' or 'owned'} end
return {'owned', unpack(call('SRANDMEMBER', OWNER .. ARGV[3], ARGV[4]))}
