-- Guarantees: the token waits no more; what it was granted meanwhile it keeps (ARGV[5] 'keep') or has given back ('return').
-- Returns {'granted', grant, now} | {'cancelled'}.
-- ARGV[3] token, [4] mailbox, [5] 'keep' or 'return', [6] account wanted or ''
--@include waiters
local request = {token = ARGV[3], box = ARGV[4], want = ARGV[6]}
local result = {'cancelled'}
if ARGV[5] == 'keep' then
  local before = granted_before(request.token)
  if before then result = {'granted', before, now} end
else
  give_back(request.token, 0)
end
forget(request)
close_mailbox(request)
return result
