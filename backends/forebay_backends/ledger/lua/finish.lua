-- ARGV: call, attempt, event, reason, outcome[, item, announce_above]. The handler has ended; the
-- item is a unary method's response.
local call = ARGV[1]
local r = read(call, {'state', 'attempt', 'deadline', 'count', 'sent'})
local why = refusal(r, ARGV[2], ARGV[3])
if why then return {why} end
if overdue(call, r) then return {'EXPIRED'} end
if ARGV[6] then store(call, r, 0, ARGV[6], tonumber(ARGV[7]), #ARGV[6]) end
settle(call, ARGV[3], ARGV[4], ARGV[5])
return {'OK'}
