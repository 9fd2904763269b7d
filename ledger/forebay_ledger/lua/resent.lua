-- ARGV: call, queue. The call's message was sent again.
redis.call('ZADD', waiting(ARGV[2]), 'XX', now_ms(), ARGV[1])
return {'OK'}
