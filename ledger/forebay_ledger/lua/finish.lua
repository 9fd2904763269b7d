-- ARGV: call, attempt, event, reason, outcome. The handler has ended.
local call = ARGV[1]
local r = read(call, {'state', 'attempt', 'deadline'})
local why = refusal(r, ARGV[2], ARGV[3])
if why then return {why} end
if overdue(call, r) then return {'EXPIRED'} end
settle(call, ARGV[3], ARGV[4], ARGV[5])
return {'OK'}
