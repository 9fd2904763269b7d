-- ARGV: call, attempt, field ('transient' or 'initial'), bytes. Pushes a transient
-- item, or initial metadata, to whoever watches; the latest is kept.
local call = ARGV[1]
local r = read(call, {'state', 'attempt', 'deadline'})
local why = refusal(r, ARGV[2], 'emit')
if why then return {why} end
if overdue(call, r) then return {'EXPIRED'} end
redis.call('HSET', key('call', call), ARGV[3], ARGV[4])
tell_watchers(call, ARGV[3] .. ' ' .. call .. '\n' .. ARGV[4])
return {'OK'}
