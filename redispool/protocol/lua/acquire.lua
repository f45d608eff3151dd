-- Guarantees: the token holds what it asked for, or waits in one place of the queue, however often this is sent; nobody is overtaken.
-- Returns {'granted', now, grant, ...} | {'waiting', stamp, rank, ms to the next end, now, 1: look again then} | {'busy', 1: ask again} | {'empty'} | {'unknown'}
-- | {'exhausted'}: all is quarantined | {'choose'}: the labels were never asked for, see choose.lua | {'too many', how many there can be}
-- | {'sealed', the keys that there are}: the caller lacks one, and has changed nothing.
-- ARGV[3] token, [4] mailbox, [5] owner, [6] ttl ms, [7] what is wanted, [8] '1': wait, [9] presence ms,
-- [10] microseconds that its priority puts it ahead, [11] its stamp, if it waited before, [12] options (see shared/waiters.lua)
--@include sealing
if sealed and lacks_key() then return {'sealed', sealed} end
--@include leasing
-- The common cases first, before all that the others need is even defined: who asks for the first time for the next in turn,
-- in a pool of simple accounts where nothing has expired, gets it if nobody waits, or is the next to wait.
local is_plain = not extras and ARGV[7] == '' and ARGV[11] == '' and ARGV[12] == ''
local lease = is_plain and call('ZRANGE', LEASES, '0', '0', 'WITHSCORES') -- the first to end
is_plain = is_plain and (not lease[2] or tonumber(lease[2]) > now)
if is_plain and not anyone_waits then
  local token, free, fence = ARGV[3], whole((settings[4] or 0) - 1), whole((settings[5] or 0) + 1)
  local name = call('LPOP', ROTATION)
  local record = name and call('HGET', PLACES, name) == '1' and call('HGET', ACCOUNTS, name)
  if record and string.sub(record, 1, 2) == '1\n' and call('SET', LOCK .. name, token, 'PX', ARGV[6], 'NX') then
    if redis.pcall('HSETNX', HELD, token, lease_entry(name, ARGV[5], fence, now_text, '')) == 1 then
      call('HDEL', PLACES, name)
      call('HSET', META, 'free', free, 'fence', fence)
      return {'granted', now, index_lease(fence, token, name, name, ARGV[5], ARGV[6], '', record)}
    end
    call('DEL', LOCK .. name) -- the token was granted something before, and is told so below
  end
  if name then call('LPUSH', ROTATION, name) end -- where it was
end
--@include requests
--@include times
-- When who has the stamp began to wait, ms.
local function since_of(stamp) return math.floor((tonumber(stamp) + tonumber(ARGV[10])) / 1000) end

-- What whoever comes to it in the queue must know; 'since': when it began to wait, ms.
local function show(since)
  local box = ARGV[4]
  if box == ARGV[3] then
    box = whole(now + ARGV[9])
  else
    call('SET', ALIVE .. box, '1', 'PX', ARGV[9])
  end
  call('HSET', REQUESTS, ARGV[3], box .. '\n' .. ARGV[5] .. '\n' .. ARGV[6] .. '\n' .. since .. '\n' .. ARGV[7] .. '\n' .. ARGV[12])
end

-- Joins the queue, or stays in its place; what the waiter is told. 'restless': what it wants is free, but not for it now;
-- 'lease': the first to end, if it was looked for already.
local function wait(queue, more, restless, lease)
  local stamp, since = ARGV[11], nil
  if stamp == '' then
    local arrival = whole(math.max(now * 1000, tonumber(settings[6] or 0) + 1))
    stamp = ARGV[10] == '0' and arrival or whole(arrival - ARGV[10])
    if call('ZADD', queue, 'NX', stamp, ARGV[3]) == 1 then
      call('HSET', META, 'stamp', arrival)
      since = now_text
    else
      stamp = whole(call('ZSCORE', queue, ARGV[3]))
    end
  else
    call('ZADD', queue, stamp, ARGV[3])
  end
  show(since or since_of(stamp))
  local rank = anyone_waits and call('ZRANK', queue, ARGV[3]) or 0 -- who found nobody waiting is the first
  return {'waiting', stamp, rank, more and 0 or next_end(rank, lease), now, restless and 1 or 0}
end

-- there are members (counted twice), and nothing is free
if is_plain and ARGV[8] == '1' and call('EXISTS', MEMBERS, MEMBERS, ROTATION) == 2 and call('HEXISTS', HELD, ARGV[3]) == 0 then
  return wait(QUEUE, false, false, lease)
end

--@include take
local request = {
  token = ARGV[3], box = ARGV[4], owner = ARGV[5], ttl = ARGV[6], want = ARGV[7], options = options_from(ARGV[12]),
  since = ARGV[11] ~= '' and since_of(ARGV[11]) or nil,
}
local count = request.options.count or 1
local by_labels = request.want ~= CLEANUP and string.sub(request.want, 1, 1) == '\t'
if ARGV[12] ~= '' or by_labels then need_extras() end

local queue = queue_of(request.want)
-- Who waited before keeps its place, even if it was taken for dead; what its mailbox tells of is over.
if ARGV[11] ~= '' and call('HEXISTS', HELD, request.token) == 0 then
  close_mailbox(request)
  call('ZADD', queue, ARGV[11], ARGV[3])
  show(since_of(ARGV[11]))
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
if ARGV[8] ~= '1' then return {'busy', more and 1 or 0} end
if policy.max_per_owner then -- who gives an account back makes it ask again
  call('ZADD', ASKING .. request.owner, 'NX', now, request.token)
  call('PEXPIRE', ASKING .. request.owner, 86400000)
end
local restless = extras and is_free(request)
-- who has a priority may be before those who barred him, now that he stands in line: he asks again at once
return wait(queue, more or restless and ARGV[11] == '' and tonumber(ARGV[10]) > 0, restless)
