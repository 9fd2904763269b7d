-- ARGV: call, event, reason, outcome. Somebody other than the worker ends the call.
local call = ARGV[1]
local r = read(call, {'state'})
if not r.state then return {'UNKNOWN'} end
if not settle(call, ARGV[2], ARGV[3], ARGV[4]) then return {r.state} end
return {'OK'}
