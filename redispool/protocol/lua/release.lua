-- Guarantees: each token's lease is over, and its seat is with the first waiter, in the rotation, or resting; others' leases are untouched.
-- Returns for each token 1 (released now) or 0 (it held nothing any more).
-- ARGV[3] cooldown ms, '' for the pool's, 'undone' if a cleaner did not clean, [4...] tokens
--@include settings
-- The common cases first, before all that the others need is even made: one account of a pool without policy or labels, for which nobody waits,
-- or of those who wait for any account the first is there to take it.
local token, seat, name, number, owner, fence, record, is_single = ARGV[4], nil, nil, '1', nil, nil, nil, nil
if not extras and #ARGV == 4 and (ARGV[3] == '' or ARGV[3] == '0') then
  local entry = call('HGET', HELD, token)
  if entry then seat, owner, fence = string.match(entry, '^(.-)\n(.-)\n(%d+)\n%d+\n') end
  name = seat
  if seat and string.find(seat, '\t', 1, true) then name, number = string.match(seat, '^(.*)\t(%d+)$') end
  record = name and call('GET', LOCK .. seat) == token and call('HGET', ACCOUNTS, name)
  is_single = record and string.sub(record, 1, 2) == '1\n'
  if record and not (is_single and number == '1') then
    record = tonumber(number) <= tonumber(string.match(record, '^(%d+)\n') or 0) and record
  end
end
local released = record and name .. '\n' .. owner .. '\n' .. fence .. '\n' .. token .. '\n\n'
if record and not anyone_waits then
  call('ZREM', LEASES, token) -- first: a server whose memory is full lets nobody begin with what needs some
  local places = redis.pcall('HINCRBY', PLACES, name, '1')
  local has_turn = places == 2 and not is_single -- by another of its seats
  if (places == 1 or has_turn) and (is_single or type(redis.pcall('RPUSH', IDLE .. name, number)) == 'number') then
    call('HDEL', HELD, token)
    if by_owner then redis.pcall('SREM', OWNER .. owner, token) end
    call('DEL', LOCK .. seat)
    if has_turn then
      call('HSET', PLACES, name, '1')
      redis.pcall('HINCRBY', META, 'more', '1')
    else
      call('RPUSH', ROTATION, name)
    end
    call('XADD', EVENTS, '*', 'released', released) -- what was granted has shortened the trail
    return {1}
  end
  if type(places) == 'number' then call('HINCRBY', PLACES, name, '-1') end
end
--@include line
--@include clock
if record and anyone_waits then
  local first = redis.pcall('ZPOPMIN', QUEUE) -- nobody could join one of another type
  local head, entry, box, asker, ttl, since, mailbox = first[1], nil, nil, nil, nil, nil, nil
  if head then entry = call('HGET', REQUESTS, head) end
  if entry then box, asker, ttl, since = string.match(entry, '^(.-)\n(.-)\n(%d+)\n(%d+)\n\n$') end -- any account, without options
  if box then
    local lives_until = tonumber(box)
    if lives_until and lives_until > now or not lives_until and call('EXISTS', ALIVE .. box) == 1 then mailbox = lives_until and head or box end
  end
  local granted = mailbox and call('EXISTS', QUEUE .. ':' .. name) == 0 and redis.pcall('HINCRBY', META, 'fence', '1')
  if type(granted) == 'number' then
    granted = string.format('%d', granted)
    local expires = string.format('%d', now + ttl)
    call('ZREM', LEASES, token)
    call('HDEL', HELD, token)
    call('SET', LOCK .. seat, head, 'PX', ttl)
    call('HSET', HELD, head, seat .. '\n' .. asker .. '\n' .. granted .. '\n' .. now_text .. '\n')
    call('ZADD', LEASES, expires, head)
    if by_owner then
      redis.pcall('SREM', OWNER .. owner, token)
      redis.pcall('SADD', OWNER .. asker, head)
    end
    call('XADD', EVENTS, 'MAXLEN', '~', EVENTS_KEPT, '*', 'released', released, 'granted',
      name .. '\n' .. asker .. '\n' .. granted .. '\n' .. head .. '\n' .. string.format('%d', math.max(now - since, 0)) .. '\n')
    call('HDEL', REQUESTS, head)
    redis.pcall('RPUSH', MAIL .. mailbox, 'granted\n' .. head .. '\n' .. seat .. '\n' .. granted .. '\n' .. now_text .. '\n' .. expires .. '\n' .. record)
    call('PEXPIRE', MAIL .. mailbox, mailbox == head and ttl or string.format('%d', math.max(ttl, 60000)))
    return {1}
  end
  if head then call('ZADD', QUEUE, first[2], head) end -- where it was
end

-- All else, in a function of its own: see acquire.lua.
return (function()
--@include leases
local cooldown, event = tonumber(ARGV[3]), ARGV[3] == 'undone' and 'returned' or nil
local released = {}
for i = 4, #ARGV do released[#released + 1] = give_back(ARGV[i], cooldown, event) and 1 or 0 end
return released
end)()
