-- Takes ends that tasks are to be told of, the oldest first; no other process gets them for a lease.
-- ARGV: lease_ms, limit
-- Replies: when the lease ends, in ms; then of each end, its entry; see keep_end
local lease_ms, limit = ARGV[1], ARGV[2]

local now = now_ms()
local until_ms = now + lease_ms
local taken = redis.call('ZRANGEBYSCORE', index('ends'), '-inf', now, 'LIMIT', 0, limit)
for _, entry in ipairs(taken) do redis.call('ZADD', index('ends'), 'XX', until_ms, entry) end
table.insert(taken, 1, string.format('%d', until_ms))
return taken
