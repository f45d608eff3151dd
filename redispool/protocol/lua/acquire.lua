-- Guarantees: the token holds one account or waits in one place of the queue, however often this is sent; nobody is overtaken.
-- Returns {'granted', grant, now} | {'waiting', stamp, rank, ms to the next end, now} | {'busy', 1: ask again} | {'empty'} | {'unknown'}.
-- ARGV[3] token, [4] mailbox, [5] owner, [6] ttl ms, [7] account wanted or '', [8] '1': wait, [9] presence ms,
-- [10] microseconds that its priority puts it ahead, [11] its stamp, if it waited before
--@include waiters
local request = {token = ARGV[3], box = ARGV[4], owner = ARGV[5], ttl = tonumber(ARGV[6]), want = ARGV[7]}

local queue = queue_of(request.want)
local function wait_in_line(stamp)
  redis.call('ZADD', queue, stamp, request.token)
  redis.call('HSET', REQUESTS, request.token, table.concat({request.box, request.owner, request.ttl, request.want}, '\n'))
  redis.call('SET', ALIVE .. request.box, '1', 'PX', ARGV[9])
end

-- Who waited before keeps its place, even if it was taken for dead; what its mailbox tells of is over.
if ARGV[11] ~= '' and redis.call('HEXISTS', HELD, request.token) == 0 then
  close_mailbox(request)
  wait_in_line(ARGV[11])
end
local more = reclaim()
local before = granted_before(request.token)
if before then
  close_mailbox(request)
  return {'granted', before, now}
end

local function in_vain(reason)
  forget(request)
  close_mailbox(request)
  return {reason}
end
if request.want ~= '' and redis.call('HEXISTS', ACCOUNTS, request.want) == 0 then
  return in_vain(redis.call('EXISTS', MEMBERS) == 1 and 'unknown' or 'empty')
end

local first, bounded = first_waiter(request.want)
more = more or bounded
if not bounded and (not first or first.token == request.token) then
  local grant_now, stopped = take(request, request.want)
  if grant_now then
    if first then
      forget(request)
      close_mailbox(request)
    end
    return {'granted', grant_now, now}
  end
  more = more or stopped
end
if redis.call('EXISTS', MEMBERS) == 0 then return in_vain('empty') end
if ARGV[8] ~= '1' then return {'busy', more and 1 or 0} end

local stamp = ARGV[11] ~= '' and ARGV[11] or redis.call('ZSCORE', queue, request.token)
if not stamp then
  local arrival = math.max(now * 1000, tonumber(redis.call('HGET', META, 'stamp') or 0) + 1)
  redis.call('HSET', META, 'stamp', arrival)
  stamp = arrival - tonumber(ARGV[10])
end
wait_in_line(stamp)
return {'waiting', string.format('%.0f', stamp), redis.call('ZRANK', queue, request.token), more and 0 or next_end(), now}
