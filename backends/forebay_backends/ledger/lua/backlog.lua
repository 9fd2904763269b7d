-- ARGV: queues. How many calls of each no worker has claimed, and how long (ms) the oldest of
-- those whose messages are the oldest has waited.
local now, reply = now_ms(), {}
for _, queue in ipairs(ARGV) do
  local oldest = 0
  for _, call in ipairs(redis.call('ZRANGE', waiting(queue), 0, 9)) do
    local queued = number(read(call, {'queued'}).queued)
    if queued > 0 then oldest = math.max(oldest, now - queued) end
  end
  reply[#reply + 1] = tostring(redis.call('ZCARD', waiting(queue)))
  reply[#reply + 1] = tostring(oldest)
end
return reply
