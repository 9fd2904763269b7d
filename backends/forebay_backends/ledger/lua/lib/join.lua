-- Joining the run of an identical call.

-- A result is kept for so long after somebody joined, so that there is time to read it.
local READING_MS = 60000

-- Whether a call that is identical to the record's may have its result; r: its fields.
local function can_be_joined(r, cache, ttl_ms)
  local now, deadline = now_ms(), number(r.deadline)
  if r.cache ~= cache or number(r.trimmed_items) > 0 then return false end
  if active(r.state) then return deadline == 0 or deadline > now end
  return r.state == 'SUCCEEDED' and number(r.finished_at) + ttl_ms > now
end

-- Registers the channel as a watcher of the run with this cache key, on behalf of a caller who would
-- linger for linger_ms, and leave the call running with detach '1'. Returns the call and the proof of its
-- entry; nil if there is no run to join.
local function join(cache, ttl_ms, channel, lease_ms, linger_ms, detach)
  local call, proof = cached_call(cache)
  if not call then return nil end
  local r = read(call, {
    'state', 'cache', 'trimmed_items', 'deadline', 'finished_at', 'watchers', 'linger_ms',
  })
  if not can_be_joined(r, cache, tonumber(ttl_ms)) then return nil end
  local record, now = key('call', call), now_ms()
  add_watcher(call, r, channel, now + lease_ms)
  redis.call('HDEL', record, 'abandoned_at')
  redis.call('HSET', record, 'attached', 1)
  if active(r.state) then
    if tonumber(linger_ms) > number(r.linger_ms) then
      redis.call('HSET', record, 'linger_ms', linger_ms)
    end
    if detach == '1' then redis.call('HSET', record, 'detach', 1) end
  elseif number(redis.call('ZSCORE', index('done'), call)) < now + READING_MS then
    redis.call('ZADD', index('done'), 'XX', now + READING_MS, call)
  end
  return call, proof
end
