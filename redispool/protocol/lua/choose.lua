-- Guarantees: when the cursor is 0 again, the labels have a rotation of their own, in which every free account that carries them has a turn.
-- Returns {cursor} | {'full'}: there are as many choices of labels as there may be.
-- ARGV[3] the choice, '\tNAME=VALUE\t...', [4] cursor, '0' to begin, [5] how many choices there may be
--@include take
local choice, cursor = ARGV[3], ARGV[4]
need_extras()
local first = string.match(choice, '[^\t]+')
local known = call('HGET', CHOICES, first) or ''
if not string.find('\n' .. known .. '\n', '\n' .. choice .. '\n', 1, true) then
  if call('HLEN', CHOICES) >= 2 * tonumber(ARGV[5]) then return {'full'} end
  call('HSET', CHOICES, first, known == '' and choice or known .. '\n' .. choice)
end
local page = call('HSCAN', ACCOUNTS, cursor, 'COUNT', 200)
for i = 1, #page[2], 2 do
  local name, record = page[2][i], page[2][i + 1]
  if carries(labels_of(record), choice) then
    call('SADD', CARRIERS .. choice, name)
    if places_of('', name, 1) > 0 then join(choice, name) end
  end
end
if page[1] == '0' then
  call('HSET', CHOICES, choice, '1')
  wake_all(queue_of(choice))
end
return {page[1]}
