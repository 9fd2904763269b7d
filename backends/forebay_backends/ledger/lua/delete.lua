-- ARGV: call. Forgets a call that has ended.
local call = ARGV[1]
local state = redis.call('HGET', key('call', call), 'state')
if not state then return {'UNKNOWN'} end
if alive(state) then return {state} end
drop(call)
return {'OK'}
