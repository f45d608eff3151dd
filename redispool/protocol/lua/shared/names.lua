-- Guarantees: nothing changes.
-- The names of those keys that the common cases need not.
--@include open
--@include clock
local HASHES, SURPLUS = POOL .. 'hashes', POOL .. 'surplus'
local QUARANTINE, REST, HEALTH, DIRTY = POOL .. 'quarantine', POOL .. 'rest', POOL .. 'health', POOL .. 'dirty'
local CHOICES, CARRIERS, LAST = POOL .. 'choices', POOL .. 'carriers:', POOL .. 'last:'
local ASKING, TOLD, RESERVED = POOL .. 'asking:', POOL .. 'told:', POOL .. 'reserved'
