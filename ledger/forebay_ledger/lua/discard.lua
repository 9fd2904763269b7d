-- ARGV: call. Forgets a call whose message could not be sent, unless a worker has it.
local call = ARGV[1]
local r = read(call, {'state', 'worker'})
if not r.state then return {'UNKNOWN'} end
if r.worker or not alive(r.state) then return {r.state} end
drop(call)
return {'OK'}
