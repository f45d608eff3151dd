-- Guarantees: every script that goes on from here speaks the pool's protocol version.
-- Returns (in place of the script): {'mismatch', version} or {'wrongtype', key, wanted, found}; nothing has changed then.
-- KEYS[1] NS:{POOL}:meta   ARGV[1] protocol version   ARGV[2] '1': check the types of the keys (a process's first contact)
local META = KEYS[1]
local POOL = string.sub(META, 1, -5)
local MEMBERS, ROTATION, PLACES = POOL .. 'members', POOL .. 'rotation', POOL .. 'places'
local ACCOUNTS, HASHES = POOL .. 'accounts', POOL .. 'hashes'
local LEASES, HELD, COOLING, SURPLUS = POOL .. 'leases', POOL .. 'held', POOL .. 'cooling', POOL .. 'surplus'
local QUEUE, REQUESTS, EVENTS = POOL .. 'queue', POOL .. 'requests', POOL .. 'events'
local QUARANTINE, REST, HEALTH, DIRTY = POOL .. 'quarantine', POOL .. 'rest', POOL .. 'health', POOL .. 'dirty'
local CHOICES, CARRIERS, LAST = POOL .. 'choices', POOL .. 'carriers:', POOL .. 'last:'
local LOCK, OWNER, IDLE, MAIL, ALIVE = POOL .. 'lock:', POOL .. 'owner:', POOL .. 'idle:', POOL .. 'mail:', POOL .. 'alive:'

if ARGV[2] == '1' then
  local wanted = {
    {META, 'hash'}, {MEMBERS, 'list'}, {ROTATION, 'list'}, {PLACES, 'hash'}, {ACCOUNTS, 'hash'}, {HASHES, 'hash'},
    {LEASES, 'zset'}, {HELD, 'hash'}, {COOLING, 'zset'}, {SURPLUS, 'hash'}, {QUEUE, 'zset'}, {REQUESTS, 'hash'},
    {EVENTS, 'stream'}, {QUARANTINE, 'hash'}, {REST, 'hash'}, {HEALTH, 'hash'}, {DIRTY, 'zset'}, {CHOICES, 'hash'},
  }
  for _, pair in ipairs(wanted) do
    local found = redis.call('TYPE', pair[1]).ok
    if found ~= 'none' and found ~= pair[2] then return {'wrongtype', pair[1], pair[2], found} end
  end
end
local settings = redis.call('HMGET', META, 'version', 'extras', 'policy')
if settings[1] and settings[1] ~= ARGV[1] then return {'mismatch', settings[1]} end
-- What a pool pays for what it does not use is this one look: 'extras' is set when it first uses more than leases and turns.
local extras, policy = settings[2], settings[3] and cjson.decode(settings[3]) or {}

local function need_extras()
  if not extras then
    extras = '1'
    redis.call('HSET', META, 'extras', extras)
  end
end

-- Writes to the audit trail.
local function record_event(event, name, owner, fence, why)
  local kept = policy.events or 10000
  if kept == 0 then return end
  if why and why ~= '' then
    redis.call('XADD', EVENTS, 'MAXLEN', '~', kept, '*', 'event', event, 'account', name, 'owner', owner, 'fence', fence, 'why', why)
  else
    redis.call('XADD', EVENTS, 'MAXLEN', '~', kept, '*', 'event', event, 'account', name, 'owner', owner, 'fence', fence)
  end
end
