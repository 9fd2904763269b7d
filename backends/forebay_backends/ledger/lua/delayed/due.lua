-- The next delayed calls that are due.
-- ARGV: within_ms (from now), limit
-- Replies, a list: of each call: in_ms (0: it is due) call queue attempt task priority method
--   traceparent
local within_ms, limit = tonumber(ARGV[1]), ARGV[2]

local now, reply = now_ms(), {}
local found = redis.call('ZRANGEBYSCORE', index('delayed'), '-inf', now + within_ms, 'WITHSCORES',
  'LIMIT', 0, limit)
for n = 1, #found, 2 do
  local call, start_at = found[n], tonumber(found[n + 1])
  local r = read(call, HELD_FIELDS)
  if r.task then
    reply[#reply + 1] = tostring(math.max(start_at - now, 0))
    add_held_call(reply, call, r)
  else
    end_delay(call)  -- its record was lost
  end
end
return reply
