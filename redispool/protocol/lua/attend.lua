-- Guarantees: the mailbox shows life, so that who waits at it is not passed over; what has expired is reclaimed.
-- Returns {1, or 0 if who waits at it must ask again (it was taken for dead, or the pool is empty); ms to the next end, -1: none}.
-- ARGV[3] mailbox, [4] presence ms
--@include leases
local alive = ALIVE .. ARGV[3]
local lived = call('EXISTS', alive) == 1
call('SET', alive, '1', 'PX', ARGV[4])
local more = reclaim()
return {lived and call('EXISTS', MEMBERS) or 0, more and 0 or next_end()}
