-- Guarantees: the token holds what it asked for, or waits in one place of the queue, however often this is sent; nobody is overtaken.
-- Returns {'granted', now, grant, ...} | {'waiting', stamp, rank, ms to the next end, now} | {'busy', 1: ask again} | {'empty'} | {'unknown'}
-- | {'exhausted'}: all is quarantined | {'choose'}: the labels were never asked for, see choose.lua | {'too many', how many there can be}
-- | {'sealed', the keys that there are}: the caller lacks one, and has changed nothing.
-- ARGV[3] token, [4] mailbox, [5] owner, [6] ttl ms, [7] what is wanted, [8] '1': wait, [9] presence ms,
-- [10] microseconds that its priority puts it ahead, [11] its stamp, if it waited before, [12] options (see shared/waiters.lua)
--@include sealing
if sealed and lacks_key() then return {'sealed', sealed} end
--@include requests
--@include times
local function wait_in_line(queue, stamp)
  local since = math.floor((tonumber(stamp) + tonumber(ARGV[10])) / 1000)
  redis.call('ZADD', queue, stamp, ARGV[3])
  redis.call('HSET', REQUESTS, ARGV[3], table.concat({ARGV[4], ARGV[5], ARGV[6], since, ARGV[7], ARGV[12]}, '\n'))
  redis.call('SET', ALIVE .. ARGV[4], '1', 'PX', ARGV[9])
end

-- Joins the queue, or stays in its place; what the waiter is told.
local function wait(queue, more)
  local stamp = ARGV[11] ~= '' and ARGV[11] or redis.call('ZSCORE', queue, ARGV[3])
  if not stamp then
    local arrival = math.max(now * 1000, tonumber(redis.call('HGET', META, 'stamp') or 0) + 1)
    redis.call('HSET', META, 'stamp', arrival)
    stamp = arrival - tonumber(ARGV[10])
  end
  wait_in_line(queue, stamp)
  return {'waiting', string.format('%.0f', stamp), redis.call('ZRANK', queue, ARGV[3]), more and 0 or next_end(), now}
end

-- The common cases first, before all that the others need is even defined: who asks for the first time for the next in turn,
-- in a pool of simple accounts where nothing has expired, either gets it, as nobody waits, or is the next to wait.
if not extras and ARGV[7] == '' and ARGV[11] == '' and ARGV[12] == ''
  and #redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 1) == 0 and redis.call('HEXISTS', HELD, ARGV[3]) == 0 then
  local token, name = ARGV[3], redis.call('LPOP', ROTATION)
  if not name then
    if ARGV[8] == '1' and redis.call('EXISTS', MEMBERS) == 1 then return wait(QUEUE) end
  else
    if redis.call('EXISTS', QUEUE, QUEUE .. ':' .. name) == 0 and redis.call('HGET', PLACES, name) == '1' then
      local record = redis.call('HGET', ACCOUNTS, name)
      if record and string.sub(record, 1, 2) == '1\n' and redis.call('SET', LOCK .. name, token, 'PX', ARGV[6], 'NX') then
        redis.call('HDEL', PLACES, name)
        redis.call('HINCRBY', META, 'free', -1)
        return {'granted', now, record_lease(token, name, name, ARGV[5], ARGV[6], '', record)}
      end
    end
    redis.call('LPUSH', ROTATION, name) -- where it was
  end
end

--@include take
local request = {
  token = ARGV[3], box = ARGV[4], owner = ARGV[5], ttl = tonumber(ARGV[6]), want = ARGV[7], options = options_from(ARGV[12]),
}
local count = request.options.count or 1
local by_labels = request.want ~= CLEANUP and string.sub(request.want, 1, 1) == '\t'
if ARGV[12] ~= '' or by_labels then need_extras() end

local queue = queue_of(request.want)
-- Who waited before keeps its place, even if it was taken for dead; what its mailbox tells of is over.
if ARGV[11] ~= '' and redis.call('HEXISTS', HELD, request.token) == 0 then
  close_mailbox(request)
  wait_in_line(queue, ARGV[11])
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

local function in_vain(...)
  forget(request)
  close_mailbox(request)
  return {...}
end
if redis.call('EXISTS', MEMBERS) == 0 then return in_vain('empty') end
if by_labels then
  if redis.call('HEXISTS', CHOICES, request.want) == 0 then return {'choose'} end
  if redis.call('EXISTS', CARRIERS .. request.want) == 0 then return in_vain('unknown') end
elseif request.want ~= '' and request.want ~= CLEANUP then
  if redis.call('HEXISTS', ACCOUNTS, request.want) == 0 then return in_vain('unknown') end
end
if count > 1 then
  local most = by_labels and redis.call('SCARD', CARRIERS .. request.want) or redis.call('LLEN', MEMBERS)
  for _, name in ipairs(request.options.exclude or NONE) do most = most - redis.call('HEXISTS', ACCOUNTS, name) end
  most = math.min(most, policy.max_per_owner or most)
  if count > most then return in_vain('too many', most) end
end
if extras and not request.options.patient and request.want ~= CLEANUP then
  local out = redis.call('HLEN', QUARANTINE)
  if out > 0 and (out >= redis.call('LLEN', MEMBERS) or redis.call('HEXISTS', QUARANTINE, request.want) == 1) then
    return in_vain('exhausted')
  end
end

local grants, stopped = take(request)
if grants then
  if redis.call('HEXISTS', REQUESTS, request.token) == 1 then forget(request) end
  if policy.pace then wake((first_of({queue}, ''))) end -- who is next shall know when
  return granted(grants)
end
more = more or stopped
if ARGV[8] ~= '1' then return {'busy', more and 1 or 0} end
return wait(queue, more)
