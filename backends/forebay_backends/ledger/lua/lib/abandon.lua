-- Calls that nobody watches.

-- The last watcher has disconnected: the call's linger begins in grace_ms, unless it has begun.
local function abandon(call, grace_ms)
  local since, now = redis.call('HGET', key('call', call), 'abandoned_at'), now_ms()
  if not since or tonumber(since) > now + grace_ms then
    redis.call('HSET', key('call', call), 'abandoned_at', now + grace_ms)
  end
  review(call)
end

-- Publishes what the handler sent. A watcher that can't be reached has the time of a lease to come
-- back before the call counts as abandoned. r: the WATCH_FIELDS.
local function publish_or_abandon(call, r, frame)
  local reached, all = publish(call, r, frame)
  if all > 0 and reached == 0 then abandon(call, LEASE_MS) end
end
