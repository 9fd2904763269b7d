-- The next delayed calls that are due.
-- ARGV: within_ms (from now), limit
-- Replies, a list: of each call: call in_ms (0: it is due) attempt task queue priority method
--   traceparent
local within_ms, limit = tonumber(ARGV[1]), ARGV[2]

local now, reply = now_ms(), {}
local found = redis.call('ZRANGEBYSCORE', index('delayed'), '-inf', now + within_ms, 'WITHSCORES',
  'LIMIT', 0, limit)
for n = 1, #found, 2 do
  local call, start_at = found[n], tonumber(found[n + 1])
  local r = read(call, {'attempt', 'task', 'queue', 'priority', 'method'})
  if r.task then
    local in_ms = tostring(math.max(start_at - now, 0))
    for _, word in ipairs({
      call, in_ms, r.attempt, r.task, r.queue, r.priority or '0', r.method, traceparent_of(call),
    }) do reply[#reply + 1] = word end
  else
    end_delay(call)  -- its record was lost
  end
end
return reply
