-- Guarantees: every script that goes on from here speaks the pool's protocol version, and finds a pool that redispool wrote.
-- No function is made here, nor in the common cases, which follow it: that would cost more than what they do.
-- Returns (in place of the script): {'mismatch', version}, {'wrongtype', key, wanted, found} or {'garbage', key, field}; nothing has changed then.
-- KEYS[1] NS:{POOL}:meta   ARGV[1] protocol version
-- ARGV[2] '[1][ KEY_ID ...][\nCALLER]': 1: check what stands there (a process's first contact); the keys that open records; who administers
local call = redis.call -- looked up once: most of a script's time is its calls
local META = KEYS[1]
local POOL = string.sub(META, 1, -5)
local ROTATION, PLACES, ACCOUNTS, REQUESTS, IDLE = POOL .. 'rotation', POOL .. 'places', POOL .. 'accounts', POOL .. 'requests', POOL .. 'idle:'
local EVENTS_KEPT = '10000' -- of the audit trail, unless the policy says otherwise
local LEASES, HELD, LOCK, OWNER, EVENTS = POOL .. 'leases', POOL .. 'held', POOL .. 'lock:', POOL .. 'owner:', POOL .. 'events'

-- While a cluster moves the slot, what is on the other node would look like nothing: asked for two keys, of which one never is (the lock
-- of an account without a name), the server refuses before anything has changed.
local anyone_waits = call('EXISTS', REQUESTS, LOCK) == 1

local is_first_contact = ARGV[2] ~= '' and string.sub(ARGV[2], 1, 1) == '1'
if is_first_contact then
  local wanted = {
    meta = 'hash', members = 'list', rotation = 'list', places = 'hash', accounts = 'hash', hashes = 'hash', leases = 'zset',
    held = 'hash', cooling = 'zset', surplus = 'hash', queue = 'zset', requests = 'hash', events = 'stream', choices = 'hash',
    quarantine = 'hash', rest = 'hash', health = 'hash', dirty = 'zset', reserved = 'set',
  }
  for name, kind in pairs(wanted) do
    local found = call('TYPE', POOL .. name).ok
    if found ~= 'none' and found ~= kind then return {'wrongtype', POOL .. name, kind, found} end
  end
end
-- What a pool pays for what it does not use is this one look: META's 'version' is that of the protocol, and after it stands 'settings' if
-- there are others to be read, 'extras' if they are such that the common cases do not do.
local version, uses = call('HGET', META, 'version'), ''
local extras, sealed, policy = false, nil, {}
local by_owner -- whether OWNER is kept: nil: nobody ever asked for it; 'all': it tells of all leases; else: of those that end before, and of new ones
if version ~= ARGV[1] or is_first_contact then
  local spoken
  spoken, uses = string.match(version or ARGV[1], '^(%S*) ?(.*)$')
  if spoken ~= ARGV[1] then return {'mismatch', version} end
  local settings = call('HMGET', META, 'sealed', 'policy', 'owners')
  if settings[2] then
    local legible, rules = pcall(cjson.decode, settings[2])
    for name, rule in pairs(legible and type(rules) == 'table' and rules or {false}) do
      if type(rule) ~= 'number' and (name ~= 'cleanup' or rule ~= true) then return {'garbage', META, 'policy'} end
    end
    policy = rules
  end
  if uses == '' then -- somebody has removed the version
    uses = settings[2] and 'extras' or (settings[1] or settings[3]) and 'settings' or ''
  end
  extras, sealed, by_owner = uses == 'extras', settings[1], settings[3]
  if is_first_contact then
    local counters = {'more', 'stale', 'fence', 'stamp', 'next_at'}
    for i, value in ipairs(call('HMGET', META, unpack(counters))) do
      local is_whole = value == '0' or value and #value < 18 and string.match(value, '^-?[1-9]%d*$')
      if value and not (is_whole or i > 3 and tonumber(value)) then return {'garbage', META, counters[i]} end
    end
  end
end
