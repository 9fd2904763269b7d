-- The call's message was sent again, by itself.
-- ARGV: call, queue
-- Replies: OK
local call, queue = ARGV[1], ARGV[2]

if redis.call('ZADD', waiting(queue), 'XX', 'CH', now_ms(), call) == 1
  and redis.call('HDEL', key('call', call), 'piggybacked') == 1 then
  redis.call('HINCRBY', index('piggybacked'), queue, -1)
end
return {'OK'}
