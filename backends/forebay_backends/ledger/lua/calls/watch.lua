-- Registers or renews a watch, and reports the call's state.
-- ARGV: call, channel, lease_ms, attach ('1': another caller attached to the call)
-- Replies: UNKNOWN | OK method digest ahead_bytes item_bytes trimmed_items outcome initial_metadata
--   transient traceparent receiving credit_wait_ms (how long the handler has waited for watchers
--   to read) cache state reason item_count attempt queue_ms run_ms
local call, channel, lease_ms, attach = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'

local watched = read(call, {'state', 'watchers'})
if not watched.state then return refuse(call, 'UNKNOWN') end
add_watcher(call, watched, channel, now_ms() + lease_ms)
redis.call('HDEL', key('call', call), 'abandoned_at')
if attach then redis.call('HSET', key('call', call), 'attached', 1) end
review(call)
local r = read(call, {
  'method', 'digest', 'item_bytes', 'trimmed_items', 'outcome', 'initial_metadata', 'transient',
  'traceparent', 'window_bytes', 'item_limit_bytes', 'live_requests', 'credit_wait_since',
  'cache', unpack(ENDING)
})
local credit_wait_ms = r.credit_wait_since and now_ms() - r.credit_wait_since or 0
-- The message of a queued call that is not sampled has its trace, too, and may be sent again.
local from_metadata = attach and r.state == 'QUEUED' and traceparent_of(call) or ''
local ahead_bytes = math.min(number(r.window_bytes), number(r.item_limit_bytes))
return {
  'OK', r.method, r.digest, tostring(ahead_bytes), r.item_bytes, r.trimmed_items or '0',
  r.outcome or '', r.initial_metadata or '', r.transient or '', r.traceparent or from_metadata,
  accepts_requests(r) and '1' or '0', tostring(credit_wait_ms), r.cache or '', unpack(ending(r))
}
