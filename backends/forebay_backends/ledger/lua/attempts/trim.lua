-- Deletes the first items, which were read.
-- ARGV: call, attempt, count, bytes (of those items)
-- Replies: OK | UNKNOWN | STALE | state
local call, attempt, count, bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local r = read(call, {'state', 'attempt', 'first'})
local why = refusal(r, attempt, 'emit')
if why then return {why} end
if count > number(r.first) then
  redis.call('XTRIM', key('out', call), 'MINID', (count + 1) .. '-0')
  redis.call('HSET', key('call', call), 'first', count, 'base', bytes)
end
return {'OK'}
