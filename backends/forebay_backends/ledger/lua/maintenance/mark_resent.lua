-- The call's message was sent again, by itself.
-- ARGV: call, queue
-- Replies: OK
local call, queue = ARGV[1], ARGV[2]

if redis.call('ZADD', waiting(queue), 'XX', 'CH', now_ms(), call) == 1 then
  release_hold(call, queue, false)
end
return {'OK'}
