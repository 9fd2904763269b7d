-- The end of a call, and the end of its record.
local FIELDS_OF_ACTIVE_CALLS = {
  'request', 'transient', 'worker', 'lease_until', 'control', 'token', 'queue_until', 'queue_wait',
  'detach', 'run_limit', 'inputs', 'input_bytes', 'read_count', 'attempts_limit', 'rerun',
  'deterministic', 'metadata', 'overall', 'fingerprint', 'live', 'taken', 'taken_bytes', 'let_go',
  'full', 'idle', 'idle_until',
}

local ENDING = {'state', 'reason', 'count', 'attempt', 'queued', 'begun', 'finished'}

-- How the call ended, as the end frame and the reply of `watch` report it; r: the ENDING fields.
local function ending(r)
  local queued, begun, finished = number(r.queued), number(r.begun), number(r.finished)
  local started = begun > 0 and begun or finished
  return {
    r.state, r.reason or '', r.count or '0', r.attempt or '1',
    tostring(queued > 0 and started - queued or 0),
    tostring(begun > 0 and finished - begun or 0),
  }
end

-- Tells the process that runs the attempt, and its worker's main process, to stop it.
local function stop_worker(call, r, state)
  local frame = 'stop ' .. call .. ' ' .. r.attempt .. ' ' .. state
  if r.control then redis.call('PUBLISH', r.control, frame) end
  if r.worker then redis.call('PUBLISH', CONTROL .. r.worker, frame) end
end

-- Leads the call to a terminal state by an event; false where the event does not apply.
local function settle(call, event, reason, outcome)
  local r = read(call, {
    'state', 'attempt', 'worker', 'control', 'queue', 'retention', 'sent', 'base', 'count',
    'queued', 'begun', 'piggybacked',
  })
  local state = r.state and NEXT[r.state][event]
  if not state or active(state) then return false end
  local now = now_ms()
  local record = key('call', call)
  redis.call('HSET', record, 'state', state, 'reason', reason, 'outcome', outcome, 'finished', now)
  redis.call('HDEL', record, unpack(FIELDS_OF_ACTIVE_CALLS))
  redis.call('DEL', key('in', call))
  redis.call('ZREM', index('due'), call)
  leave_queue(call, r)
  local retention = number(r.retention)
  local size = RECORD_BYTES + number(r.sent) - number(r.base)
  redis.call('ZADD', index('done'), now + retention, call)
  redis.call('HSET', index('size'), call, size)
  redis.call('INCRBY', index('bytes'), size)
  -- The sweep drops the call; where nothing sweeps, the keys expire.
  for _, kind in ipairs({'call', 'out', 'watch'}) do
    redis.call('PEXPIRE', key(kind, call), retention + 60000)
  end
  if event ~= 'succeed' then stop_worker(call, r, state) end
  r.state, r.reason, r.finished = state, reason ~= '' and reason or '-', now
  publish(call, 'end ' .. call .. ' ' .. table.concat(ending(r), ' ') .. '\n' .. outcome)
  return true
end

-- Deletes the record and all that belongs to it; returns the bytes that it counted as.
local function drop(call)
  local r = read(call, {'queue', 'piggybacked'})
  if r.queue then leave_queue(call, r) end
  redis.call('ZREM', index('calls'), call)
  redis.call('DEL', key('call', call), key('in', call), key('out', call), key('watch', call),
    key('observers', call))
  redis.call('ZREM', index('due'), call)
  redis.call('ZREM', index('done'), call)
  local size = number(redis.call('HGET', index('size'), call))
  redis.call('HDEL', index('size'), call)
  if size > 0 then redis.call('DECRBY', index('bytes'), size) end
  return size
end
