-- Guarantees: nothing changes; every request that waits from the first call to the last is told of.
-- Returns {cursor, then for each: token, stamp, request}.
-- ARGV[3] cursor, '0' to begin
--@include waiters
local page = call('HSCAN', REQUESTS, ARGV[3], 'COUNT', 500)
local reply = {page[1]}
for i = 1, #page[2], 2 do
  local token, entry = page[2][i], page[2][i + 1]
  local request = request_of(token)
  local stamp = request and call('ZSCORE', queue_of(request.want), token)
  if stamp and is_alive(request) then
    reply[#reply + 1] = token
    reply[#reply + 1] = stamp
    reply[#reply + 1] = entry
  end
end
return reply
