-- A watcher has disconnected.
-- ARGV: call, channel
-- Replies: OK
local call, channel = ARGV[1], ARGV[2]

redis.call('ZREM', key('watch', call), channel)
if active(redis.call('HGET', key('call', call), 'state')) then
  -- A watcher whose lease has ended may be late, as after an outage: the sweep removes it.
  if #watchers(call) == 0 then abandon(call, 0) else schedule(call) end
end
return {'OK'}
