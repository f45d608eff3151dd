-- Guarantees: a request waits in one place of one queue, or not at all.
-- A request is 'BOX\nOWNER\nTTL\nSINCE\nWANT\nOPTIONS'; options: '' or JSON (count, exclude, prefer, purpose, patient).
-- Where the mailbox is the waiter's own, which is named as its token, BOX is until when it is taken to live, server ms;
-- many who share one live as long as its key in ALIVE (see attend.lua).
-- Who wants '' takes any account; NAME that one; '\tNAME=VALUE\t...' one with those labels; '\tcleanup\t' one to be cleaned.
--@include leasing
local NONE = {}

local function queue_of(want)
  if want == '' then return QUEUE end
  return QUEUE .. ':' .. want
end

local function options_from(text)
  if text == '' then return NONE end
  local legible, options = pcall(cjson.decode, text)
  if not legible or type(options) ~= 'table' then return NONE end
  for name, kind in pairs({count = 'number', exclude = 'table', purpose = 'string'}) do
    if options[name] ~= nil and type(options[name]) ~= kind then return NONE end
  end
  if options.prefer and options.prefer ~= true and type(options.prefer) ~= 'string' then return NONE end
  return options
end

local function request_of(token)
  local entry = call('HGET', REQUESTS, token)
  if not entry then return nil end
  local box, owner, ttl, since, want, options = string.match(entry, '^(.-)\n(.-)\n(%d+)\n(.-)\n(.-)\n(.*)$')
  if not box then return nil end -- nothing that a waiter wrote
  local lives_until = tonumber(box)
  return {
    token = token, box = lives_until and token or box, lives_until = lives_until, owner = owner, ttl = ttl,
    since = tonumber(since), want = want, options = options_from(options),
  }
end

-- Whether the mailbox has shown life within its presence: who waits at it is not passed over.
local function is_alive(request)
  if request.lives_until then return request.lives_until > now end
  return call('EXISTS', ALIVE .. request.box) == 1
end

local function forget(request)
  call('ZREM', queue_of(request.want), request.token)
  call('HDEL', REQUESTS, request.token)
end

-- A waiter's own mailbox goes with its request; one that many waiters of a process share stays.
local function close_mailbox(request)
  if request.box == request.token then call('DEL', MAIL .. request.box) end
end

-- What many share must not end with the shortest of their leases.
local function send_mail(request, mail, lifetime)
  redis.pcall('RPUSH', MAIL .. request.box, mail) -- should it be of another type: who waits asks again soon, and is told
  call('PEXPIRE', MAIL .. request.box, request.box == request.token and lifetime or math.max(lifetime, 60000))
end

-- The last mail that a request gets, which has left its queue already.
local function deliver(request, mail, lifetime)
  call('HDEL', REQUESTS, request.token)
  send_mail(request, mail, lifetime)
end

-- The same for one that is in its queue.
local function post(request, mail, lifetime)
  call('ZREM', queue_of(request.want), request.token)
  deliver(request, mail, lifetime)
end
