-- ARGV: call, count. A watcher has read so many items.
local call = ARGV[1]
local r = read(call, {'state', 'read_count', 'control', 'attempt'})
if not alive(r.state) then return {r.state or 'UNKNOWN'} end
if tonumber(ARGV[2]) > number(r.read_count) then
  redis.call('HSET', key('call', call), 'read_count', ARGV[2])
  if r.control then
    redis.call('PUBLISH', r.control, 'credit ' .. call .. ' ' .. r.attempt .. ' ' .. ARGV[2])
  end
end
return {'OK'}
