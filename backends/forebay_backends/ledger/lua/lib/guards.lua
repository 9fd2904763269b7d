-- The checks at the start of an operation, and the notices to handlers.

-- The reply that refuses an operation on the call. A server that a failover made a replica may lack
-- the latest changes, so that its reason is wrong: it fails here, at a write that changes nothing.
local function refuse(call, why)
  redis.call('HDEL', key('call', call), '')
  return {why}
end

-- Why the event is refused for this attempt; nil if it is not.
local function refusal(r, attempt, event)
  if not r.state then return 'UNKNOWN' end
  if not NEXT[r.state][event] then return r.state end
  if r.attempt ~= attempt then return 'STALE' end
  return nil
end

-- Whether another worker holds a lease on the call.
local function taken(r, worker)
  return r.worker and r.worker ~= worker and number(r.lease_until) > now_ms()
end

-- Whether further requests may come.
local function accepts_requests(r)
  return r.state == 'RECEIVING' or r.live_requests == 'open'
end

-- Tells the handler of a live call that requests came, or that they ended.
local function announce_requests(call, r, count)
  if r.control_channel then
    local frame = 'requests ' .. call .. ' ' .. r.attempt .. ' ' .. count
    publish_on(r.control_channel, frame)
  end
end

local FLOW_FIELDS = {'state', 'attempt', 'items_read', 'credit_wait_since', unpack(WATCH_FIELDS)}

-- The handler does not wait for watchers, or they have read more; r: its credit_wait_since.
local function end_credit_wait(call, r)
  if r.credit_wait_since then redis.call('HDEL', key('call', call), 'credit_wait_since') end
end

-- How many items the watcher that is furthest has read, and how many watch; r: the FLOW_FIELDS.
local function flow(call, r)
  return {'OK', r.items_read or '0', tostring(count_live_watchers(r))}
end
