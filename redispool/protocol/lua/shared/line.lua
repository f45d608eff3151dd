-- Guarantees: nothing changes; no name of these is made where the common case needs none.
-- The names of the keys that tell of membership and of those who wait.
--@include settings
local MEMBERS, COOLING = POOL .. 'members', POOL .. 'cooling'
local QUEUE, MAIL, ALIVE = POOL .. 'queue', POOL .. 'mail:', POOL .. 'alive:'
