-- ARGV: limit, queues (JSON list of those that live workers consume).
-- Ends what is due and drops what is past its retention.
local now, limit, consumed = now_ms(), ARGV[1], {}
for _, queue in ipairs(cjson.decode(ARGV[2])) do consumed[queue] = true end
local due = redis.call('ZRANGEBYSCORE', P .. ':due', '-inf', now, 'LIMIT', 0, limit)
for _, call in ipairs(due) do review(call, consumed) end
local done = redis.call('ZRANGEBYSCORE', P .. ':done', '-inf', now, 'LIMIT', 0, limit)
for _, call in ipairs(done) do drop(call) end
local oldest = redis.call('ZRANGE', P .. ':done', 0, 0, 'WITHSCORES')
return {tostring(#due), tostring(#done), redis.call('GET', P .. ':bytes') or '0', oldest[2] or ''}
