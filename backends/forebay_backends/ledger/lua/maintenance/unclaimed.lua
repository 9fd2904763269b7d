-- What waits in each queue: how many calls have a message of their own, and those whose message was
-- sent a lease ago or more or has yet to be sent, the oldest first. Calls whose messages a gateway
-- holds back count as yet to be sent two leases after the last renewal: after one, another gateway
-- may take them over, see adopt.lua.
-- ARGV: lease_ms, limit (calls of a queue), queue, ...
-- Replies, for each queue, a list: count, then of each call: call sent attempt task priority
--   overtaken piggybacked traceparent
local lease_ms, limit, queues = ARGV[1], ARGV[2], arguments_from(3)

local reply, sent_before = {}, now_ms() - lease_ms
for _, queue in ipairs(queues) do
  local calls = redis.call('ZRANGEBYSCORE', waiting(queue), '-inf', sent_before, 'WITHSCORES',
    'LIMIT', 0, limit)
  local count = redis.call('ZCARD', waiting(queue))
  if count == 0 then redis.call('HDEL', index('piggybacked'), queue) end
  local piggybacked = number(redis.call('HGET', index('piggybacked'), queue))
  local found = {tostring(math.max(count - piggybacked, 0))}
  for n = 1, #calls, 2 do
    local call, sent = calls[n], calls[n + 1]
    local r = read(call, {'state', 'attempt', 'task', 'priority', 'piggybacked', 'held'})
    local is_held = r.held and tonumber(sent) > sent_before - lease_ms
    if r.held then sent = '0' end
    if r.state and not is_held then
      local priority = r.priority or '0'
      local lane = queue .. ' ' .. priority
      local newest = number(redis.call('HGET', index('newest_claimed_sent'), lane))
      local overtaken = tonumber(sent) + lease_ms < newest
      for _, word in ipairs({
        call, sent, r.attempt, r.task, priority, overtaken and '1' or '0', r.piggybacked or '0',
        traceparent_of(call),
      }) do found[#found + 1] = word end
    elseif not r.state then
      redis.call('ZREM', waiting(queue), call)
    end
  end
  reply[#reply + 1] = found
end
return reply
