-- Deletes a call that has ended.
-- ARGV: call
-- Replies: OK | UNKNOWN | state
local call = ARGV[1]

local state = read(call, {'state'}).state
if not state then return refuse(call, 'UNKNOWN') end
if active(state) then return refuse(call, state) end
drop(call)
return {'OK'}
