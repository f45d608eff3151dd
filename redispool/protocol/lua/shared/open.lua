-- Guarantees: every script that goes on from here speaks the pool's protocol version, and finds a pool that redispool wrote.
-- Returns (in place of the script): {'mismatch', version}, {'wrongtype', key, wanted, found} or {'garbage', key, field}; nothing has changed then.
-- KEYS[1] NS:{POOL}:meta   ARGV[1] protocol version
-- ARGV[2] '[1][ KEY_ID ...][\nCALLER]': 1: check what stands there (a process's first contact); the keys that open records; who administers
local call = redis.call -- looked up once: most of a script's time is its calls
local META = KEYS[1]
local POOL = string.sub(META, 1, -5)
local MEMBERS, ROTATION, PLACES, ACCOUNTS = POOL .. 'members', POOL .. 'rotation', POOL .. 'places', POOL .. 'accounts'
local LEASES, HELD, REQUESTS, EVENTS = POOL .. 'leases', POOL .. 'held', POOL .. 'requests', POOL .. 'events'
local LOCK, OWNER, QUEUE, MAIL, ALIVE = POOL .. 'lock:', POOL .. 'owner:', POOL .. 'queue', POOL .. 'mail:', POOL .. 'alive:'
local COOLING = POOL .. 'cooling'

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
local settings = call('HMGET', META, 'version', 'extras', 'sealed', 'free', 'fence', 'stamp', 'policy', 'owners')
if settings[1] and settings[1] ~= ARGV[1] then return {'mismatch', settings[1]} end
if is_first_contact then
  local counters = {'free', 'fence', 'stamp', 'next_at'}
  for i, value in ipairs(call('HMGET', META, unpack(counters))) do
    if value and not (i <= 2 and string.match(value, '^-?%d+$') or i > 2 and tonumber(value)) then return {'garbage', META, counters[i]} end
  end
end
-- A whole number as Redis takes it; one that is left to Redis is printed as if it were a fraction, which takes its time.
local function whole(number) return string.format('%d', number) end

-- What a pool pays for what it does not use is this one look: 'extras' is set when it first uses more than leases and turns.
local extras, policy = settings[2], {}
if settings[7] then
  local legible, rules = pcall(cjson.decode, settings[7])
  for name, rule in pairs(legible and type(rules) == 'table' and rules or {false}) do
    if type(rule) ~= 'number' and (name ~= 'cleanup' or rule ~= true) then return {'garbage', META, 'policy'} end
  end
  policy = rules
end

local by_owner = settings[8] -- whether OWNER is kept: nil: nobody ever asked for it; '0': it is being filled; '1': it tells of all leases

local function need_extras()
  if not extras then
    extras = '1'
    call('HSET', META, 'extras', extras)
  end
end

-- What the audit trail tells of an event: 'token': the lease, and so the host, process and user of who had it, whatever owner he named;
-- 'waited': for how many ms he had waited for it.
local function event_of(name, owner, fence, token, waited, why)
  return name .. '\n' .. owner .. '\n' .. fence .. '\n' .. (token or '') .. '\n' .. (waited or '') .. '\n' .. (why or '')
end

-- Writes to the audit trail; 'released': what ended for it, in the same entry, as an entry costs more than what it says.
local function write_event(event, told, released)
  local kept, id = policy.events or '10000', nil
  if kept == 0 then return end
  if released then
    id = call('XADD', EVENTS, 'MAXLEN', '~', kept, '*', 'released', released, event, told)
  else
    id = call('XADD', EVENTS, 'MAXLEN', '~', kept, '*', event, told)
  end
  if policy.events_age then
    call('XTRIM', EVENTS, 'MINID', whole(math.max(string.match(id, '^%d+') - policy.events_age, 0)))
  end
end

local function record_event(event, name, owner, fence, why, token)
  write_event(event, event_of(name, owner, fence, token, nil, why))
end
