-- Guarantees: who lacks a key of the pool's records is told so before anything changes.
-- META's 'sealed' names the keys of the records, 'KEY_ID ...', the newest first; 'stray' counts what was written with another one since.
--@include open

local function lacks_key()
  if not sealed or string.find(ARGV[2], ' ' .. sealed, 1, true) then return false end -- the common case
  for id in string.gmatch(sealed, '%S+') do
    if not string.find(ARGV[2], ' ' .. id, 1, true) then return true end
  end
  return false
end

-- The key that seals what the caller writes, or nil.
local function own_key() return string.match(ARGV[2], '^1? (%S+)') end

-- Notes with what key records are about to be written; false if the caller must not, as he cannot read all that there is.
local function may_seal()
  local key = own_key()
  if not sealed and not key then return true end
  if key and (not sealed or call('EXISTS', MEMBERS) == 0) then -- whatever keys there were before, none is in use
    need_settings()
    call('HSET', META, 'sealed', key)
    call('HDEL', META, 'stray')
    return true
  end
  if lacks_key() then return false end
  if key ~= string.match(sealed, '%S+') then
    call('HINCRBY', META, 'stray', 1)
    if not string.find(sealed, key, 1, true) then call('HSET', META, 'sealed', sealed .. ' ' .. key) end
  end
  return true
end
