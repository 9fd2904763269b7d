-- ARGV: lease_ms, limit, queue, ... What waits in each queue: how many that have a message of
-- their own, and all whose message was sent a lease ago or more, or is yet to be sent, the
-- oldest first.
local old = now_ms() - ARGV[1]
local queues = {}
for i = 3, #ARGV do
  local calls = redis.call('ZRANGEBYSCORE', waiting(ARGV[i]), '-inf', old, 'WITHSCORES',
    'LIMIT', 0, ARGV[2])
  local count = redis.call('ZCARD', waiting(ARGV[i]))
  if count == 0 then redis.call('HDEL', P .. ':piggybacked', ARGV[i]) end
  local piggybacked = number(redis.call('HGET', P .. ':piggybacked', ARGV[i]))
  local found = {tostring(math.max(count - piggybacked, 0))}
  for n = 1, #calls, 2 do
    local call, sent = calls[n], calls[n + 1]
    local r = read(call, {'state', 'attempt', 'task', 'priority', 'piggybacked'})
    if r.state then
      local newest_claimed_sent = number(redis.call('HGET', P .. ':newest_claimed_sent', ARGV[i] .. ' ' .. r.priority))
      local overtaken = tonumber(sent) + ARGV[1] < newest_claimed_sent
      for _, word in ipairs({
        call, sent, r.attempt, r.task, r.priority, overtaken and '1' or '0', r.piggybacked or '0',
      }) do
        found[#found + 1] = word
      end
    else
      redis.call('ZREM', waiting(ARGV[i]), call)
    end
  end
  queues[#queues + 1] = found
end
return queues
