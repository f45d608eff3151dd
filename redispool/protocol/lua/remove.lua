-- Guarantees: the accounts are members no more; one that is held ends with its lease; those who wait in vain are told.
-- Returns {accounts that were removed} | {'again'}: more had expired than one call reclaims; send it again.
-- ARGV[3...] for each account: name, hash
--@include members
--@include administer
if reclaim() then return {'again'} end
local removed, labels = {}, {}
for i = 3, #ARGV, 2 do
  local name, hash = ARGV[i], ARGV[i + 1]
  local record = call('HGET', ACCOUNTS, name)
  if record then
    for _, choice in ipairs(choices_of(record)) do labels[choice] = true end
    forget_account(name, record)
    call('HDEL', ACCOUNTS, name)
    call('HDEL', HASHES, hash)
    call('LREM', MEMBERS, 1, name) -- O(n), and not on a hot path
    removed[#removed + 1] = name
  end
end
record_change('removed', removed)
local emptied = call('EXISTS', MEMBERS) == 0
for i = 3, #ARGV, 2 do
  if call('HEXISTS', ACCOUNTS, ARGV[i]) == 0 then dismiss(queue_of(ARGV[i]), emptied and 'empty' or 'unknown') end
end
if emptied then
  for _, queue in ipairs({QUEUE, queue_of(CLEANUP)}) do dismiss(queue, 'empty') end
  for choice in pairs(labels) do dismiss(queue_of(choice), 'empty') end
elseif extras then
  wake_hopeless(QUEUE) -- what is left may be quarantined, or fewer than somebody wants
  for choice in pairs(labels) do wake_hopeless(queue_of(choice)) end
end
return {#removed}
