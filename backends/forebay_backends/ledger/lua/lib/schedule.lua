-- Due times, and what happens then: deadlines, queue waits, idle limits, lost watchers and lost workers.

-- No lease lapses before this time; sweep.lua sets it.
local lapse_not_before = 0

local SCHEDULE_FIELDS = {
  'state', 'deadline', 'queue_wait_until', 'queue', 'abandoned_at', 'linger_ms', 'detach',
  'lease_until', 'idle_until', 'watchers',
}

-- When the call is to be cancelled since nobody watches it; nil if it is not.
local function cancel_at(r)
  if r.abandoned_at and (r.detach ~= '1' or r.state == 'RECEIVING') then
    return number(r.abandoned_at) + number(r.linger_ms)
  end
end

-- When the call must be reviewed next; infinite if it need not. r: the SCHEDULE_FIELDS.
local function due_at(r)
  local due = math.huge
  local function at(time)
    if time > 0 and time < due then due = time end
  end
  at(number(r.deadline))
  at(number(r.idle_until))
  if r.lease_until then at(math.max(number(r.lease_until), lapse_not_before)) end
  if r.state == 'QUEUED' then at(number(r.queue_wait_until)) end
  at(cancel_at(r) or 0)
  local last = watched_until(r)
  if last > 0 then at(math.max(last, lapse_not_before)) end
  return due
end

-- Keeps in the partition's index when the call must be reviewed next; r: the SCHEDULE_FIELDS, if
-- they were read. With `indexed`, a time not after the one in the index, it writes only an earlier
-- one: the sweep then reviews the call too early, and schedules it again.
local function schedule(call, r, indexed)
  r = r or read(call, SCHEDULE_FIELDS)
  if not active(r.state) then return end
  local due = due_at(r)
  if indexed and due >= indexed then return end
  if due < math.huge then
    redis.call('ZADD', index('due'), due, call)
  else
    redis.call('ZREM', index('due'), call)
  end
end

-- Ends the call if its deadline has passed; returns whether it did.
local function expire_if_overdue(call, r)
  local deadline = number(r.deadline)
  return deadline > 0 and deadline <= now_ms() and settle(call, 'expire', 'DEADLINE_EXCEEDED', '')
end

-- Ends the call if that is due; r: its SCHEDULE_FIELDS. Returns whether it did. Only callers
-- that know the live workers can end a queue wait: consumed is a table by name of the queues that
-- live workers consume, or true for all queues, or nil.
local function end_if_due(call, r, consumed)
  if not active(r.state) then return false end
  if expire_if_overdue(call, r) then return true end
  local now, idle_until, queue_until = now_ms(), number(r.idle_until), number(r.queue_wait_until)
  if idle_until > 0 and idle_until <= now then
    return settle(call, 'expire', 'CALLER_IDLE', '')
  elseif consumed and r.state == 'QUEUED' and queue_until > 0 and queue_until <= now then
    local served = consumed == true or consumed[r.queue]
    return settle(call, 'fail', served and 'QUEUE_WAIT' or 'NO_WORKERS', '')
  elseif (cancel_at(r) or math.huge) <= now then
    return settle(call, 'cancel', 'CANCELLED', '')
  end
  return false
end

-- Does what is due for the call. Only the sweep lets leases lapse (lapsing).
local function review(call, consumed, lapsing)
  local r = read(call, SCHEDULE_FIELDS)
  if r.state and not known(r.state) then
    redis.call('ZADD', index('due'), now_ms() + LEASE_MS, call)  -- for a newer version to review
    return
  elseif not active(r.state) then
    redis.call('ZREM', index('due'), call)
    return
  end
  local now = now_ms()
  if lapsing and not r.abandoned_at and r.watchers and count_live_watchers(r) == 0 then
    keep_watchers(call, r, function() return false end)
    redis.call('HSET', key('call', call), 'abandoned_at', now)
    r.abandoned_at = now
  end
  if end_if_due(call, r, consumed) then return end
  if lapsing and r.lease_until and number(r.lease_until) <= now then
    lapse(call)
    r = nil
  end
  schedule(call, r)
end
