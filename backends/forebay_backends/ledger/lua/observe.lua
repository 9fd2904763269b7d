-- ARGV: call, channel, lease_ms. Somebody wants to hear of the call without being its watcher;
-- tells where it stands.
local call = ARGV[1]
review(call)
local r = read(call, {'state', 'method', 'first', 'count', 'sent'})
if not r.state then return {'UNKNOWN'} end
if alive(r.state) then
  redis.call('SADD', key('observers', call), ARGV[2])
  redis.call('PEXPIRE', key('observers', call), ARGV[3])
end
return {'OK', r.state, r.method, r.first or '0', r.count or '0', r.sent or '0'}
