-- Ends the call, on behalf of anyone but its worker.
-- ARGV: call, event, reason, outcome
-- Replies: OK | UNKNOWN | state
local call, event, reason, outcome = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local state = read(call, {'state'}).state
if not state then return refuse(call, 'UNKNOWN') end
if not settle(call, event, reason, outcome) then return refuse(call, state) end
return {'OK'}
