-- Queued calls without a worker: a sorted set for each queue, by the time that their message was
-- sent (0: the message has yet to be sent).
local function waiting(queue)
  return key('waiting', queue)
end

-- Removes the call from its queue's set; r: its queue and piggybacked. Returns when its message was
-- sent, nil if the call was not waiting.
local function leave_queue(call, r)
  local sent = redis.call('ZSCORE', waiting(r.queue), call)
  if not sent then return nil end
  redis.call('ZREM', waiting(r.queue), call)
  if r.piggybacked then redis.call('HINCRBY', index('piggybacked'), r.queue, -1) end
  return sent
end

-- Delayed calls: a sorted set by when they are due, and their number by tenant.
local function delay(call, start_at)
  redis.call('ZADD', index('delayed'), start_at, call)
  local owner = owner_of(call)
  if owner then redis.call('HINCRBY', index('delayed_of'), owner, 1) end
end

-- The call is delayed no more; whether it was.
local function end_delay(call)
  if redis.call('ZREM', index('delayed'), call) == 0 then return false end
  local owner = owner_of(call)
  if owner and redis.call('HINCRBY', index('delayed_of'), owner, -1) < 1 then
    redis.call('HDEL', index('delayed_of'), owner)
  end
  return true
end

-- A gateway holds back the call's message: it has none yet. The time in the set is that of the last
-- renewal of the hold.
local function hold(call, queue)
  redis.call('HSET', key('call', call), 'held', '1', 'piggybacked', '1')
  redis.call('HINCRBY', index('piggybacked'), queue, 1)
end

-- Puts the call into its queue by an event; sent: as in the queue's set; r: its state, queue and
-- queue_wait_ms.
local function enter_queue(call, r, event, sent)
  local now = now_ms()
  redis.call('HSET', key('call', call), 'state', NEXT[r.state][event], 'queued_at', now,
    'queue_wait_until', now + number(r.queue_wait_ms))
  redis.call('ZADD', waiting(r.queue), sent, call)
end

-- The message of a held call is sent: its own, or another call's names it.
local function release_hold(call, queue, piggybacked)
  redis.call('HDEL', key('call', call), 'held')
  if not piggybacked and redis.call('HDEL', key('call', call), 'piggybacked') == 1 then
    redis.call('HINCRBY', index('piggybacked'), queue, -1)
  end
end

-- A worker received the call's message; r: its queue, priority and piggybacked. Calls of the same
-- queue and priority whose messages are a lease older were overtaken: see unclaimed.lua. The time is
-- written once a second, which is exact enough for that.
local function mark_claimed(call, r)
  local sent = leave_queue(call, r)
  if not sent then return end
  local lane = r.queue .. ' ' .. (r.priority or '0')
  if tonumber(sent) > number(redis.call('HGET', index('newest_claimed_sent'), lane)) + 1000 then
    redis.call('HSET', index('newest_claimed_sent'), lane, sent)
    redis.call('PEXPIRE', index('newest_claimed_sent'), 4 * LEASE_MS)
  end
end

-- The trace context in the call's request metadata, for its message; '' without one. The metadata
-- is a `forebay.v1.Metadata`, maybe sealed: an entry has the length of the key, the key, the tag of
-- the value, its length, and the value.
local function traceparent_of(call)
  local metadata = redis.call('HGET', key('call', call), 'metadata') or ''
  return metadata:match('\11traceparent\18.(%x%x%-%x+%-%x+%-%x%x)') or ''
end

local HELD_FIELDS = {'queue', 'attempt', 'task', 'priority', 'method'}

-- Adds to a reply the words about a call whose message a gateway sends later; r has HELD_FIELDS.
local function add_held_call(reply, call, r)
  for _, word in ipairs({
    call, r.queue, r.attempt, r.task, r.priority or '0', r.method, traceparent_of(call),
  }) do reply[#reply + 1] = word end
end
