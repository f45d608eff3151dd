-- Guarantees: a record is replaced by the same one sealed anew, unless somebody changed it meanwhile.
-- Returns {'begun', accounts} | {'done', records replaced} | {'sealed', the keys that there are}: the caller lacks one
-- | {'finished'}: no record is sealed with any but the first of the caller's keys | {'changed'}: some may be; begin again.
-- ARGV[3] 'begin', 'replace' or 'finish', [4...] to replace, for each: name, record as read, new record
--@include sealing
--@include administer
local step, key = ARGV[3], own_key()
if call('EXISTS', MEMBERS) == 1 and lacks_key() then return {'sealed', sealed} end

if step == 'begin' then
  local others = {key}
  for id in string.gmatch(sealed or '', '%S+') do
    if id ~= key then others[#others + 1] = id end
  end
  need_settings()
  call('HSET', META, 'sealed', table.concat(others, ' '))
  call('HDEL', META, 'stray')
  return {'begun', call('LLEN', MEMBERS)}
end

if string.match(sealed or '', '%S+') ~= key then return {'changed'} end -- somebody else has begun
if step == 'replace' then
  local replaced = 0
  for i = 4, #ARGV, 3 do
    if call('HGET', ACCOUNTS, ARGV[i]) == ARGV[i + 1] then
      call('HSET', ACCOUNTS, ARGV[i], ARGV[i + 2])
      replaced = replaced + 1
    end
  end
  return {'done', replaced}
end

if call('HEXISTS', META, 'stray') == 1 then return {'changed'} end
if sealed ~= key then
  call('HSET', META, 'sealed', key)
  record_event('resealed', '', caller, 0, 'key ' .. key)
end
return {'finished'}
