-- Registers an observer: it gets the call's frames, and counts for nothing. Reports where the call
-- stands.
-- ARGV: call, channel, lease_ms
-- Replies: UNKNOWN | OK state method first count sent
local call, channel, lease_ms = ARGV[1], ARGV[2], ARGV[3]

review(call)
local r = read(call, {'state', 'method', 'first', 'count', 'sent'})
if not r.state then return {'UNKNOWN'} end
if active(r.state) then
  redis.call('SADD', key('observers', call), channel)
  redis.call('PEXPIRE', key('observers', call), lease_ms)
end
return {'OK', r.state, r.method, r.first or '0', r.count or '0', r.sent or '0'}
