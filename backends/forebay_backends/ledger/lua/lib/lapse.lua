-- The end of an attempt whose worker has lost or released the call.
local RERUN_FIELDS = {'attempt', 'attempts_limit', 'item_count', 'may_run_again', 'deterministic'}

-- Of the attempts that have begun and are lost: the queue, and '1' if the call runs again, else '0'.
local lapses = {}

-- Whether another attempt may follow this one, which has begun; r: the RERUN_FIELDS.
local function may_run_again(r)
  return r.may_run_again == '1' and number(r.attempt) < number(r.attempts_limit)
    and (r.deterministic == '1' or number(r.item_count) == 0)
end

local MOST_EARLIER = 20

-- The attempts before the one that follows this one, a line each, at most the MOST_EARLIER latest:
-- attempt begun_at lapsed_at worker.
local function with_earlier(r, now)
  local lines = {}
  for line in string.gmatch(r.earlier_attempts or '', '[^\n]+') do lines[#lines + 1] = line end
  if #lines == MOST_EARLIER then table.remove(lines, 1) end
  local worker = string.gsub(r.worker or '', '\n', ' ')
  lines[#lines + 1] = table.concat({r.attempt, r.begun_at or '0', tostring(now), worker}, ' ')
  return table.concat(lines, '\n')
end

-- Returns the call to its queue. A call that had begun moves to the next attempt, or fails if it
-- may not run again.
local function lapse(call)
  local r = read(call, {
    'state', 'worker', 'control_channel', 'queue', 'queue_wait_ms', 'call_deadline',
    'piggybacked', 'begun_at', 'earlier_attempts', unpack(RERUN_FIELDS)
  })
  local state = NEXT[r.state].lapse
  if state ~= r.state then
    local again = may_run_again(r)
    lapses[#lapses + 1] = r.queue
    lapses[#lapses + 1] = again and '1' or '0'
    if not again then
      settle(call, 'fail', 'WORKER_LOST', '')
      return
    end
    stop_worker(call, r, state)
    local now = now_ms()
    redis.call('HSET', key('call', call), 'state', state, 'attempt', r.attempt + 1,
      'queue_wait_until', now + number(r.queue_wait_ms), 'earlier_attempts', with_earlier(r, now))
    if r.call_deadline then redis.call('HSET', key('call', call), 'deadline', r.call_deadline) end
  end
  redis.call('HDEL', key('call', call), unpack(FIELDS_OF_A_CLAIM))
  leave_queue(call, r)
  redis.call('ZADD', waiting(r.queue), 0, call)
end
