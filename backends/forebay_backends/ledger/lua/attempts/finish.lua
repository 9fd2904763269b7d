-- The handler has ended.
-- ARGV: call, attempt, event, reason, outcome[, item, announce_above]: a unary method's response
-- Replies: OK | UNKNOWN | STALE | state
local call, attempt, event, reason, outcome = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local item, announce_above = ARGV[6], tonumber(ARGV[7])

local r = read(call, {'deadline', unpack(SETTLE_FIELDS)})
local why = refusal(r, attempt, event) or (expire_if_overdue(call, r) and 'EXPIRED')
if why then return refuse(call, why) end
-- No stop for the attempt that ends the call: its worker might kill the process, which is done.
r.worker, r.control_channel = nil, nil
settle(call, event, reason, outcome, r, item, announce_above)
return {'OK'}
