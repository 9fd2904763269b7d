-- A message about an end reached a worker that does not have the task: it must be sent again.
-- ARGV: entry; see keep_end
-- Replies: OK
local entry = ARGV[1]

redis.call('ZADD', index('ends'), now_ms(), entry)
return {'OK'}
