-- ARGV: limit, queues (JSON list of those that live workers consume).
-- Ends what is due and drops what is past its retention. Dropping comes first: a server whose
-- memory is full refuses a script whose first write could need more of it.
local now, limit, consumed = now_ms(), ARGV[1], {}
local done = redis.call('ZRANGEBYSCORE', P .. ':done', '-inf', now, 'LIMIT', 0, limit)
for _, call in ipairs(done) do drop(call) end
-- After a pause in the sweeping, as when this server was down, leases have ended that nobody
-- could renew: their holders are given the time of a lease to come back.
local state = redis.call('HMGET', P .. ':sweep_state', 'since', 'last')
local since = number(state[1])
if number(state[2]) < now - LEASE_MS / 3 then since = now end
redis.call('HSET', P .. ':sweep_state', 'since', since, 'last', now)
redis.call('PEXPIRE', P .. ':sweep_state', 4 * LEASE_MS)
if since > now - LEASE_MS then hold_until = since + LEASE_MS end
for _, queue in ipairs(cjson.decode(ARGV[2])) do consumed[queue] = true end
local due = redis.call('ZRANGEBYSCORE', P .. ':due', '-inf', now, 'LIMIT', 0, limit)
for _, call in ipairs(due) do review(call, consumed, hold_until == 0) end
local oldest = redis.call('ZRANGE', P .. ':done', 0, 0, 'WITHSCORES')
return {tostring(#due), tostring(#done), redis.call('GET', P .. ':bytes') or '0', oldest[2] or ''}
