-- Registers an observer: it gets the call's frames, and has no effect on the call. Reports the
-- call's state.
-- ARGV: call, channel, lease_ms
-- Replies: UNKNOWN | OK state method trimmed_items item_count item_bytes outcome
local call, channel, lease_ms = ARGV[1], ARGV[2], ARGV[3]

review(call)
local r = read(call, {
  'state', 'method', 'trimmed_items', 'item_count', 'item_bytes', 'observed', 'outcome',
})
if not r.state then return refuse(call, 'UNKNOWN') end
if active(r.state) then
  redis.call('SADD', key('observers', call), channel)
  redis.call('PEXPIRE', key('observers', call), lease_ms)
  if not r.observed then redis.call('HSET', key('call', call), 'observed', 1) end
end
return {
  'OK', r.state, r.method, r.trimmed_items or '0', r.item_count or '0', r.item_bytes or '0',
  r.outcome or '',
}
