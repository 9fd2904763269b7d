-- Deletes a call that has ended.
-- ARGV: call
-- Replies: OK | UNKNOWN | state
local call = ARGV[1]

local state = read(call, {'state'}).state
if not state then return {'UNKNOWN'} end
if active(state) then return {state} end
drop(call)
return {'OK'}
