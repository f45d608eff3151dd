-- Guarantees: those of settings.lua; what a script changes beyond its common case is told of in the same words by all.
--@include settings
--@include line
-- A whole number as Redis takes it; one that is left to Redis is printed as if it were a fraction, which takes its time.
local function whole(number) return string.format('%d', number) end

local function write_version() call('HSET', META, 'version', uses == '' and ARGV[1] or ARGV[1] .. ' ' .. uses) end

-- Before a setting is written: from now on all scripts look for them.
local function need_settings()
  if uses == '' then
    uses = 'settings'
    write_version()
  end
end

local function need_extras()
  extras = true
  if uses ~= 'extras' then
    uses = 'extras'
    write_version()
  end
end

-- Writes to the audit trail. 'token': the lease, and so the host, process and user of who had it, whatever owner he named;
-- 'waited': for how many ms he had waited for it.
local function record_event(event, name, owner, fence, why, token, waited)
  local kept = policy.events or EVENTS_KEPT
  if kept == 0 then return end
  local told = name .. '\n' .. owner .. '\n' .. fence .. '\n' .. (token or '') .. '\n' .. (waited or '') .. '\n' .. (why or '')
  local id = call('XADD', EVENTS, 'MAXLEN', '~', kept, '*', event, told)
  if policy.events_age then
    call('XTRIM', EVENTS, 'MINID', whole(math.max(string.match(id, '^%d+') - policy.events_age, 0)))
  end
end
