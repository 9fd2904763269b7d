-- Registers or renews a watch, and reports where the call stands.
-- ARGV: call, channel, lease_ms, attach ('1': another caller was told of the call)
-- Replies: UNKNOWN | OK method digest ahead_bytes sent first outcome initial transient receiving
--   state reason count attempt queue_ms run_ms
local call, channel, lease_ms, attach = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'

if redis.call('EXISTS', key('call', call)) == 0 then return {'UNKNOWN'} end
redis.call('ZADD', key('watch', call), now_ms() + lease_ms, channel)
redis.call('HDEL', key('call', call), 'left')
if attach then redis.call('HSET', key('call', call), 'attached', 1) end
review(call)
local r = read(call, {
  'method', 'digest', 'sent', 'first', 'outcome', 'initial', 'transient', 'window', 'item_limit',
  'live', unpack(ENDING)
})
if not active(r.state) then redis.call('PEXPIRE', key('watch', call), lease_ms) end
local ahead_bytes = math.min(number(r.window), number(r.item_limit))
return {
  'OK', r.method, r.digest, tostring(ahead_bytes), r.sent, r.first or '0', r.outcome or '',
  r.initial or '', r.transient or '', accepts_requests(r) and '1' or '0', unpack(ending(r))
}
