-- ARGV: call, attempt, ordinal, item, announce_above. Stores one lasting item, once.
local call, ordinal = ARGV[1], tonumber(ARGV[3])
local r = read(call, {'deadline', 'count', 'sent', unpack(FLOW)})
local why = refusal(r, ARGV[2], 'emit')
if why then return {why} end
if overdue(call, r) then return {'EXPIRED'} end
if ordinal > number(r.count) then return {'GAP'} end
store(call, r, ordinal, ARGV[4], tonumber(ARGV[5]))
return flow(call, r)
