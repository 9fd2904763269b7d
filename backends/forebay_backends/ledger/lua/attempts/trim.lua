-- Deletes the first items, which were read.
-- ARGV: call, attempt, count, bytes (of those items)
-- Replies: OK | UNKNOWN | STALE | state
local call, attempt, count, bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local r = read(call, {'state', 'attempt', 'trimmed_items'})
local why = refusal(r, attempt, 'emit')
if why then return refuse(call, why) end
if count > number(r.trimmed_items) then
  redis.call('XTRIM', key('items', call), 'MINID', (count + 1) .. '-0')
  redis.call('HSET', key('call', call), 'trimmed_items', count, 'trimmed_bytes', bytes)
end
return {'OK'}
