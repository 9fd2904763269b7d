-- Takes over calls whose messages a gateway held back that has not renewed its holds for a lease.
-- ARGV: lease_ms, limit (calls of a queue), queue, ...
-- Replies, a list: of each call: call queue attempt task priority method traceparent
local lease_ms, limit, queues = ARGV[1], tonumber(ARGV[2]), arguments_from(3)

local now, reply = now_ms(), {}
for _, queue in ipairs(queues) do
  -- Others whose messages were sent long ago may wait, too.
  local old = redis.call('ZRANGEBYSCORE', waiting(queue), '-inf', now - lease_ms, 'LIMIT', 0,
    10 * limit)
  local taken = 0
  for _, call in ipairs(old) do
    local r = read(call, {'state', 'held', unpack(HELD_FIELDS)})
    if r.held and r.state == 'QUEUED' and taken < limit then
      taken = taken + 1
      redis.call('ZADD', waiting(queue), 'XX', now, call)
      add_held_call(reply, call, r)
    end
  end
end
return reply
