-- Guarantees: the token holds what it asked for, or waits in one place of the queue, however often this is sent; nobody is overtaken.
-- Returns {'granted', now, grant, ...} | {'waiting', stamp, rank, ms to the next end, now, 1: look again then} | {'busy', 1: ask again} | {'empty'} | {'unknown'}
-- | {'exhausted'}: all is quarantined | {'choose'}: the labels were never asked for, see choose.lua | {'too many', how many there can be}
-- | {'sealed', the keys that there are}: the caller lacks one, and has changed nothing.
-- ARGV[3] owner, [4] ttl ms, [5] presence ms; the others only where they are not all '', as they are for most who ask:
-- [6] what is wanted, [7] '0': do not wait, [8] a mailbox that is not its own, [9] microseconds that its priority puts it ahead,
-- [10] its stamp, if it waited before, [11] options (see shared/requests.lua); the last: token
--@include settings
--@include clock
local ASKER, TTL, PRESENCE, TOKEN = ARGV[3], ARGV[4], ARGV[5], ARGV[#ARGV]
local WANT, WAIT, BOX, AHEAD, STAMP, OPTIONS = '', true, '', '', '', ''
if #ARGV > 6 then WANT, WAIT, BOX, AHEAD, STAMP, OPTIONS = ARGV[6], ARGV[7] ~= '0', ARGV[8], ARGV[9], ARGV[10], ARGV[11] end
-- The common cases first, before all that the others need is even made: who asks for the first time for the next in turn,
-- in a pool without policy or labels where nothing has expired, gets it if nobody waits, or is the next to wait.
local is_plain = not extras and WANT == '' and STAMP == '' and OPTIONS == ''
  and (not sealed or string.find(ARGV[2], ' ' .. sealed, 1, true)) -- the keys of its records
local lease = is_plain and call('ZRANGE', LEASES, '0', '0', 'WITHSCORES') -- the first to end
is_plain = is_plain and (not lease[2] or tonumber(lease[2]) > now)
if is_plain and not anyone_waits then
  local name = call('LPOP', ROTATION)
  local places = name and redis.pcall('HINCRBY', PLACES, name, '-1')
  local record = places == 0 and call('HGET', ACCOUNTS, name)
  local seat, number
  if record and string.sub(record, 1, 2) == '1\n' then
    seat = name
  elseif record and string.find(record, '^[1-9]%d*\n') then -- one of several
    number = redis.pcall('LPOP', IDLE .. name)
    if type(number) == 'string' then seat = number == '1' and name or name .. '\t' .. number end
  end
  if seat and call('SET', LOCK .. seat, TOKEN, 'PX', TTL, 'NX') then
    local fence = redis.pcall('HINCRBY', META, 'fence', '1')
    fence = type(fence) == 'number' and string.format('%d', fence)
    if fence and redis.pcall('HSETNX', HELD, TOKEN, seat .. '\n' .. ASKER .. '\n' .. fence .. '\n' .. now_text .. '\n') == 1 then
      local expires = string.format('%d', now + TTL)
      call('ZADD', LEASES, expires, TOKEN)
      if by_owner then redis.pcall('SADD', OWNER .. ASKER, TOKEN) end
      call('XADD', EVENTS, 'MAXLEN', '~', EVENTS_KEPT, '*', 'granted', name .. '\n' .. ASKER .. '\n' .. fence .. '\n' .. TOKEN .. '\n\n')
      if number and call('EXISTS', IDLE .. name) == 1 then -- its next turn comes at the end
        call('HINCRBY', PLACES, name, '1')
        call('RPUSH', ROTATION, name)
        redis.pcall('HINCRBY', META, 'more', '-1')
      end
      return {'granted', now, 'granted\n' .. TOKEN .. '\n' .. seat .. '\n' .. fence .. '\n' .. now_text .. '\n' .. expires .. '\n' .. record}
    end
    call('DEL', LOCK .. seat) -- the token was granted something before, and is told so below
    if fence then call('HINCRBY', META, 'fence', '-1') end
  end
  if name then -- back to where it was
    if number and seat then call('LPUSH', IDLE .. name, number) end
    if type(places) == 'number' then call('HINCRBY', PLACES, name, '1') end
    call('LPUSH', ROTATION, name)
  end
end
--@include line
-- there are members (counted twice), and nothing is free
if is_plain and WAIT and AHEAD == '' and call('EXISTS', MEMBERS, MEMBERS, ROTATION) == 2 and call('HEXISTS', HELD, TOKEN) == 0 then
  local stamp, box = string.format('%d', math.max(now * 1000, tonumber(call('HGET', META, 'stamp') or 0) + 1)), BOX
  if call('ZADD', QUEUE, 'NX', stamp, TOKEN) == 1 then
    call('HSET', META, 'stamp', stamp)
    if box == '' then
      box = string.format('%d', now + PRESENCE)
    else
      call('SET', ALIVE .. box, '1', 'PX', PRESENCE)
    end
    call('HSET', REQUESTS, TOKEN, box .. '\n' .. ASKER .. '\n' .. TTL .. '\n' .. now_text .. '\n\n')
    local rank = anyone_waits and call('ZRANK', QUEUE, TOKEN) or 0 -- who found nobody waiting is the first
    return {'waiting', stamp, rank, lease[2] and lease[2] - now or -1, now, 0}
  end
end

-- All else, in a function of its own: Lua looks for what a function has from outside in the one around it, not among all that stand beside it.
return (function()
--@include sealing
if lacks_key() then return {'sealed', sealed} end
--@include take
-- When who has the stamp began to wait, ms.
local function since_of(stamp) return math.floor((tonumber(stamp) + (tonumber(AHEAD) or 0)) / 1000) end

-- What whoever comes to it in the queue must know; 'since': when it began to wait, ms.
local function show(since)
  local box = BOX
  if box == '' then
    box = whole(now + PRESENCE)
  else
    call('SET', ALIVE .. box, '1', 'PX', PRESENCE)
  end
  call('HSET', REQUESTS, TOKEN, box .. '\n' .. ASKER .. '\n' .. TTL .. '\n' .. since .. '\n' .. WANT .. '\n' .. OPTIONS)
end

local request = {
  token = TOKEN, box = BOX == '' and TOKEN or BOX, owner = ASKER, ttl = TTL, want = WANT, options = options_from(OPTIONS),
  since = STAMP ~= '' and since_of(STAMP) or nil,
}
local count = request.options.count or 1
local by_labels = request.want ~= CLEANUP and string.sub(request.want, 1, 1) == '\t'
if OPTIONS ~= '' or by_labels then need_extras() end

local queue = queue_of(request.want)
-- Who waited before keeps its place, even if it was taken for dead; what its mailbox tells of is over.
if STAMP ~= '' and call('HEXISTS', HELD, request.token) == 0 then
  close_mailbox(request)
  call('ZADD', queue, STAMP, TOKEN)
  show(since_of(STAMP))
end
local more = reclaim()

local function granted(grants)
  close_mailbox(request)
  return {'granted', now, unpack(grants)}
end
local before = {}
for number = 1, count do before[#before + 1] = granted_before(token_of(request, number)) end
if #before == count then return granted(before) end
for number = 1, #before > 0 and count or 0 do give_back(token_of(request, number), 0, 'returned') end -- some of several have ended

if by_labels and call('HEXISTS', CHOICES, request.want) == 0 and call('EXISTS', MEMBERS) == 1 then return {'choose'} end
local reason, most = in_vain(request, request.options.patient)
if reason then
  forget(request)
  close_mailbox(request)
  if extras then tell_next(queue) end
  return {reason, most}
end

local grants, stopped = take(request)
if grants then
  if call('HEXISTS', REQUESTS, request.token) == 1 then forget(request) end
  if extras then tell_next(queue) end
  return granted(grants)
end
more = more or stopped
if not WAIT then return {'busy', more and 1 or 0} end
if policy.max_per_owner then -- who gives an account back makes it ask again
  call('ZADD', ASKING .. request.owner, 'NX', now, request.token)
  call('PEXPIRE', ASKING .. request.owner, 86400000)
end
local restless = extras and is_free(request)
-- who has a priority may be before those who barred him, now that he stands in line: he asks again at once
more = more or restless and STAMP == '' and (tonumber(AHEAD) or 0) > 0

-- It joins the queue, or stays in its place.
local stamp, since = STAMP, nil
if stamp == '' then
  local arrival = whole(math.max(now * 1000, tonumber(call('HGET', META, 'stamp') or 0) + 1))
  stamp = AHEAD == '' and arrival or whole(arrival - AHEAD)
  if call('ZADD', queue, 'NX', stamp, TOKEN) == 1 then
    call('HSET', META, 'stamp', arrival)
    since = now_text
  else
    stamp = whole(call('ZSCORE', queue, TOKEN))
  end
else
  call('ZADD', queue, stamp, TOKEN)
end
show(since or since_of(stamp))
local rank = anyone_waits and call('ZRANK', queue, TOKEN) or 0 -- who found nobody waiting is the first
return {'waiting', stamp, rank, more and 0 or next_end(rank), now, restless and 1 or 0}
end)()
