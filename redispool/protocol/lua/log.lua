-- Guarantees: the entry is the stream's last; what is too old or too much is dropped, and all of it once nothing comes any more.
-- Returns the entry's id.
-- KEYS[1] NS:log:{LOGGER}   ARGV[1] entries to keep, [2] ms to keep them, [3...] fields and values
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 3))
local oldest = math.max(tonumber(string.match(id, '^%d+')) - tonumber(ARGV[2]), 0)
redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', oldest))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return id
