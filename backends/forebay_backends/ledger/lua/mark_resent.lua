-- ARGV: call, queue. The call's message was sent again, by itself.
local call = ARGV[1]
if redis.call('ZADD', waiting(ARGV[2]), 'XX', 'CH', now_ms(), call) == 1
  and redis.call('HDEL', key('call', call), 'piggybacked') == 1 then
  redis.call('HINCRBY', P .. ':piggybacked', ARGV[2], -1)
end
return {'OK'}
