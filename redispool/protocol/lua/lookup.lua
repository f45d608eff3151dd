-- Guarantees: what the pool knows of each account asked for, at one instant.
-- Returns for each its record, or false where the pool has no such account.
-- ARGV[3] 'name' or 'hash', [4...] names or hashes
--@include names
local reply = {}
for i = 4, #ARGV do
  local name = ARGV[i]
  if ARGV[3] == 'hash' then name = call('HGET', HASHES, name) end
  local record = name and call('HGET', ACCOUNTS, name)
  reply[#reply + 1] = record and {name, record} or false
end
return reply
