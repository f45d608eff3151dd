-- Guarantees: the token waits no more; what it was granted meanwhile it keeps (ARGV[5] 'keep') or has given back ('return').
-- Returns {'granted', now, grant, ...} | {'cancelled'}.
-- ARGV[3] token, [4] mailbox, [5] 'keep' or 'return', [6] what was wanted, [7] how many
--@include take
local request = {token = ARGV[3], box = ARGV[4], want = ARGV[6]}
local count = tonumber(ARGV[7])
local result = {'cancelled'}
if ARGV[5] == 'keep' then
  local grants = {}
  for number = 1, count do grants[#grants + 1] = granted_before(token_of(request, number)) end
  if #grants == count then result = {'granted', now, unpack(grants)} end
end
for number = 1, result[1] == 'granted' and 0 or count do give_back(token_of(request, number), 0, 'returned') end
forget(request)
close_mailbox(request)
if extras then tell_next(queue_of(request.want)) end
return result
