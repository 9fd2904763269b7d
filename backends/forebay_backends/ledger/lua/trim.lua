-- ARGV: call, attempt, count, bytes. Lets go of the first items, so many bytes in all.
local call = ARGV[1]
local r = read(call, {'state', 'attempt', 'first'})
local why = refusal(r, ARGV[2], 'emit')
if why then return {why} end
if tonumber(ARGV[3]) > number(r.first) then
  redis.call('XTRIM', key('out', call), 'MINID', (ARGV[3] + 1) .. '-0')
  redis.call('HSET', key('call', call), 'first', ARGV[3], 'base', ARGV[4])
end
return {'OK'}
