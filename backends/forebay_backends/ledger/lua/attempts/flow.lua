-- How far readers are, for a handler that waits for credit.
-- ARGV: call, attempt
-- Replies: OK items_read watchers | UNKNOWN | STALE | state
local call, attempt = ARGV[1], ARGV[2]

review(call)
local r = read(call, FLOW_FIELDS)
local why = refusal(r, attempt, 'emit')
return why and {why} or flow(call, r)
