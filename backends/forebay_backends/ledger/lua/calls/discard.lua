-- Deletes a call whose message could not be sent. Refused if a worker has the call or another
-- caller attached to it: its message then counts as lost, and is sent again.
-- ARGV: call
-- Replies: OK | UNKNOWN | state
local call = ARGV[1]

local r = read(call, {'state', 'worker', 'attached'})
if not r.state then return refuse(call, 'UNKNOWN') end
if r.worker or r.attached or not active(r.state) then return refuse(call, r.state) end
drop(call)
return {'OK'}
