-- Guarantees: a script sees one clock, the server's: 'now' in ms, and as text.
--@include settings
local clock = call('TIME')
local now_text = clock[1] .. string.sub('00000' .. clock[2], -6, -4) -- of the microseconds, which are not padded, three digits
local now = tonumber(now_text)
