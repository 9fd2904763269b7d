-- ARGV: call, channel, lease_ms, state, timeout_ms (0: none), queue_wait_ms,
-- list ('': the message goes another way), message, queue, piggybacked ('1': another call's message
-- names this one), field, value, ...
-- Writes the record and, where the broker is this server, its task message.
local call = ARGV[1]
local known = redis.call('HMGET', key('call', call), 'method', 'digest')
if known[1] then return {'KNOWN', known[1], known[2]} end
local now = now_ms()
local fields = {
  'state', ARGV[4], 'attempt', '1', 'created', now, 'count', '0', 'sent', '0', 'queue_wait', ARGV[6],
}
local due = {state = ARGV[4]}
if tonumber(ARGV[5]) > 0 then
  due.deadline = now + tonumber(ARGV[5])
  for _, value in ipairs({'deadline', due.deadline}) do fields[#fields + 1] = value end
end
if ARGV[4] == 'QUEUED' then
  due.queue_until = now + tonumber(ARGV[6])
  for _, value in ipairs({'queued', now, 'queue_until', due.queue_until}) do
    fields[#fields + 1] = value
  end
end
for _, value in ipairs({'queue', ARGV[9]}) do fields[#fields + 1] = value end
if ARGV[10] == '1' then
  for _, value in ipairs({'piggybacked', 1}) do fields[#fields + 1] = value end
  redis.call('HINCRBY', P .. ':piggybacked', ARGV[9], 1)
end
for i = 11, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HSET', key('call', call), unpack(fields))
redis.call('ZADD', P .. ':calls', now, call)
redis.call('ZADD', key('watch', call), now + tonumber(ARGV[3]), ARGV[2])
if ARGV[4] == 'QUEUED' then redis.call('ZADD', waiting(ARGV[9]), now, call) end
schedule(call, due)
if ARGV[7] ~= '' then redis.call('LPUSH', ARGV[7], ARGV[8]) end
return {'NEW'}
