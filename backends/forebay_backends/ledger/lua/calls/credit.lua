-- A watcher has read so many items.
-- ARGV: call, count
-- Replies: OK | UNKNOWN | state
local call, count = ARGV[1], ARGV[2]

local r = read(call, {'state', 'read_count', 'control', 'attempt'})
if not active(r.state) then return {r.state or 'UNKNOWN'} end
if tonumber(count) > number(r.read_count) then
  redis.call('HSET', key('call', call), 'read_count', count)
  if r.control then
    redis.call('PUBLISH', r.control, 'credit ' .. call .. ' ' .. r.attempt .. ' ' .. count)
  end
end
return {'OK'}
