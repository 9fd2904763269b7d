-- ARGV: call, attempt, count, window. The attempt's work is in so many parts; as many of them as
-- the window says may be computed ahead of the one that its owner waits for.
local call = ARGV[1]
local parts, r = key('parts', call), read(call, {'state', 'attempt', 'deadline'})
local why = refusal(r, ARGV[2], 'emit') or (overdue(call, r) and 'EXPIRED')
if why then return {why} end
if redis.call('EXISTS', parts) == 0 then
  redis.call('HSET', parts, 'count', ARGV[3], 'window', ARGV[4], 'next', 0)
end
return {'OK'}
