-- Guarantees: what was done about the pool outside its own keys stands in its audit trail, if there is such a pool.
-- Returns {}.
-- ARGV[3] what was done, [4] why or what
--@include administer
if call('EXISTS', MEMBERS) == 1 then record_event(ARGV[3], '', caller, 0, ARGV[4]) end
return {}
