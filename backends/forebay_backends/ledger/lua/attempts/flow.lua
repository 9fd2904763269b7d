-- The progress of readers, for a handler that waits for credit. The record keeps since when it waits
-- for watchers: a gateway ends its watch if its caller has read nothing since then.
-- ARGV: call, attempt
-- Replies: OK items_read watchers | UNKNOWN | STALE | state
local call, attempt = ARGV[1], ARGV[2]

review(call)
local r = read(call, FLOW_FIELDS)
local why = refusal(r, attempt, 'emit')
if why then return refuse(call, why) end
if not r.credit_wait_since and count_live_watchers(r) > 0 then
  redis.call('HSET', key('call', call), 'credit_wait_since', now_ms())
end
return flow(call, r)
