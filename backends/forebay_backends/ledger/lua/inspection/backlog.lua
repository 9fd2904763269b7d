-- The calls that wait in each queue.
-- ARGV: queue, ...
-- Replies, for each queue: how many calls no worker has claimed, and how long (ms) the oldest has
--   waited of the ten whose messages are the oldest
local queues = ARGV

local now, reply = now_ms(), {}
for _, queue in ipairs(queues) do
  local oldest = 0
  for _, call in ipairs(redis.call('ZRANGE', waiting(queue), 0, 9)) do
    local queued = number(read(call, {'queued_at'}).queued_at)
    if queued > 0 then oldest = math.max(oldest, now - queued) end
  end
  reply[#reply + 1] = tostring(redis.call('ZCARD', waiting(queue)))
  reply[#reply + 1] = tostring(oldest)
end
return reply
