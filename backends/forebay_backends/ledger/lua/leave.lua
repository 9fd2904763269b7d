-- ARGV: call, channel. A watcher has gone.
local call = ARGV[1]
redis.call('ZREM', key('watch', call), ARGV[2])
local state = redis.call('HGET', key('call', call), 'state')
if alive(state) then
  -- One whose lease has ended may be late, as after an outage: that is for `sweep` to say.
  if #watchers(call) == 0 then left_alone(call, 0) else schedule(call) end
end
return {'OK'}
