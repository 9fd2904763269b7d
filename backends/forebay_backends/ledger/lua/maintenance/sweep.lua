-- Drops calls that are past their retention, and ends what is due.
-- ARGV: limit, queues (a JSON list of those that live workers consume)
-- Replies: reviewed dropped bytes (that finished calls hold) oldest (ms: when the first of them is
--   past its retention; '': there is none) clock_ms lapses (of each attempt that was lost: queue,
--   '1' if its call runs again) ends (that tasks are to be told of now)
local limit, queues = ARGV[1], cjson.decode(ARGV[2])

local now, consumed = set_clock(), {}
for _, queue in ipairs(queues) do consumed[queue] = true end
-- Dropping comes first: a server whose memory is full refuses a script whose first write could need
-- more of it.
local done = redis.call('ZRANGEBYSCORE', index('done'), '-inf', now, 'LIMIT', 0, limit)
for _, call in ipairs(done) do drop(call) end
-- After a pause in the sweeping, as when this server was down, leases have ended that nobody could
-- renew: their holders have the time of a lease to come back.
local state = redis.call('HMGET', index('sweep_state'), 'since', 'last')
local since = number(state[1])
if number(state[2]) < now - LEASE_MS / 3 then since = now end
redis.call('HSET', index('sweep_state'), 'since', since, 'last', now)
redis.call('PEXPIRE', index('sweep_state'), 4 * LEASE_MS)
if since > now - LEASE_MS then lapse_not_before = since + LEASE_MS end
local due = redis.call('ZRANGEBYSCORE', index('due'), '-inf', now, 'LIMIT', 0, limit)
for _, call in ipairs(due) do review(call, consumed, lapse_not_before == 0) end
local oldest = redis.call('ZRANGE', index('done'), 0, 0, 'WITHSCORES')
return {
  tostring(#due), tostring(#done), redis.call('GET', index('bytes')) or '0', oldest[2] or '',
  tostring(now), lapses,
  tostring(redis.call('ZCOUNT', index('ends'), '-inf', now)),
}
