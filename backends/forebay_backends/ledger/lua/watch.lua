-- ARGV: call, channel, lease_ms[, 'attach': another caller was told of the call]. Registers or
-- renews a watch; tells where the call stands.
local call = ARGV[1]
if redis.call('EXISTS', key('call', call)) == 0 then return {'UNKNOWN'} end
redis.call('ZADD', key('watch', call), now_ms() + tonumber(ARGV[3]), ARGV[2])
redis.call('HDEL', key('call', call), 'left')
if ARGV[4] then redis.call('HSET', key('call', call), 'attached', 1) end
review(call)
local fields = {
  'method', 'digest', 'sent', 'first', 'outcome', 'initial', 'transient', 'window', 'item_limit',
  'live',
}
for _, field in ipairs(ENDING) do fields[#fields + 1] = field end
local r = read(call, fields)
if not alive(r.state) then redis.call('PEXPIRE', key('watch', call), ARGV[3]) end
local ahead = math.min(number(r.window), number(r.item_limit))
return {
  'OK', r.method, r.digest, tostring(ahead), r.sent, r.first or '0', r.outcome or '',
  r.initial or '', r.transient or '', receiving(r) and '1' or '0', unpack(ending(r)),
}
