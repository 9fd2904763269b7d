-- ARGV: call, attempt, part. The owner waits for the part, and has those before it: they go. Into how
-- many pieces it was delivered; 0 where it was not.
local call, wanted = ARGV[1], tonumber(ARGV[3])
local parts, r = key('parts', call), read(call, {'state', 'attempt', 'deadline'})
local why = refusal(r, ARGV[2], 'emit') or (overdue(call, r) and 'EXPIRED')
if why then return {why} end
if redis.call('HEXISTS', parts, 'count') == 0 then return {'GAP'} end
for part = number(redis.call('HGET', parts, 'next')), wanted - 1 do
  for piece = 0, number(redis.call('HGET', parts, 'stored:' .. part)) - 1 do
    redis.call('HDEL', parts, part .. ':' .. piece)
  end
  redis.call('HDEL', parts, 'by:' .. part, 'since:' .. part, 'stored:' .. part, 'pieces:' .. part)
end
redis.call('HSET', parts, 'next', wanted)
return {'OK', redis.call('HGET', parts, 'pieces:' .. wanted) or '0'}
