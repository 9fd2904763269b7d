-- ARGV: call. Forgets a call whose message could not be sent, unless a worker has it, or
-- somebody else was told of it: its message is missed, and sent again, in time.
local call = ARGV[1]
local r = read(call, {'state', 'worker', 'attached'})
if not r.state then return {'UNKNOWN'} end
if r.worker or r.attached or not alive(r.state) then return {r.state} end
drop(call)
return {'OK'}
