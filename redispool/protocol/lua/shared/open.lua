-- Guarantees: every script that goes on from here speaks the pool's protocol version, and sees one clock, the server's.
-- Returns (in place of the script): {'mismatch', version} or {'wrongtype', key, wanted, found}; nothing has changed then.
-- KEYS[1] NS:{POOL}:meta   ARGV[1] protocol version   ARGV[2] '1': check the types of the keys (a process's first contact)
local META = KEYS[1]
local POOL = string.sub(META, 1, -5)
local MEMBERS, ROTATION, PLACES = POOL .. 'members', POOL .. 'rotation', POOL .. 'places'
local ACCOUNTS, HASHES = POOL .. 'accounts', POOL .. 'hashes'
local LEASES, HELD, COOLING, SURPLUS = POOL .. 'leases', POOL .. 'held', POOL .. 'cooling', POOL .. 'surplus'
local QUEUE, REQUESTS = POOL .. 'queue', POOL .. 'requests'
local LOCK, OWNER, IDLE, MAIL, ALIVE = POOL .. 'lock:', POOL .. 'owner:', POOL .. 'idle:', POOL .. 'mail:', POOL .. 'alive:'

if ARGV[2] == '1' then
  local wanted = {
    {META, 'hash'}, {MEMBERS, 'list'}, {ROTATION, 'list'}, {PLACES, 'hash'}, {ACCOUNTS, 'hash'}, {HASHES, 'hash'},
    {LEASES, 'zset'}, {HELD, 'hash'}, {COOLING, 'zset'}, {SURPLUS, 'hash'}, {QUEUE, 'zset'}, {REQUESTS, 'hash'},
  }
  for _, pair in ipairs(wanted) do
    local found = redis.call('TYPE', pair[1]).ok
    if found ~= 'none' and found ~= pair[2] then return {'wrongtype', pair[1], pair[2], found} end
  end
end
local version = redis.call('HGET', META, 'version')
if version and version ~= ARGV[1] then return {'mismatch', version} end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
