-- ARGV: call, channel. A watcher has gone.
local call = ARGV[1]
redis.call('ZREM', key('watch', call), ARGV[2])
local state = redis.call('HGET', key('call', call), 'state')
if alive(state) and live_watchers(call) == 0 then left_alone(call, 0) end
return {'OK'}
