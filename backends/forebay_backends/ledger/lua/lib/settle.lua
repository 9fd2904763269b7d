-- The end of a call, and the end of its record.
local ENDING = {'state', 'reason', 'item_count', 'attempt', 'queued_at', 'begun_at', 'finished_at'}

-- How the call ended, as the end frame and the reply of `watch` report it; r: the ENDING fields.
local function ending(r)
  local queued, begun, finished = number(r.queued_at), number(r.begun_at), number(r.finished_at)
  local started = begun > 0 and begun or finished
  return {
    r.state, r.reason or '', r.item_count or '0', r.attempt or '1',
    tostring(queued > 0 and started - queued or 0),
    tostring(begun > 0 and finished - begun or 0),
  }
end

-- Tells the process that runs the attempt, and its worker's main process, to stop it.
local function stop_worker(call, r, state)
  local frame = 'stop ' .. call .. ' ' .. r.attempt .. ' ' .. state
  if r.control_channel then publish_on(r.control_channel, frame) end
  if r.worker then publish_on(CONTROL .. r.worker, frame) end
end

-- Leads the call to a terminal state by an event; false if the event does not apply.
local function settle(call, event, reason, outcome)
  local r = read(call, {
    'state', 'attempt', 'worker', 'control_channel', 'queue', 'retention_ms', 'item_bytes',
    'trimmed_bytes', 'item_count', 'queued_at', 'begun_at', 'piggybacked',
  })
  local state = r.state and NEXT[r.state][event]
  if not state or active(state) then return false end
  local now = now_ms()
  local record = key('call', call)
  redis.call('HSET', record, 'state', state, 'reason', reason, 'outcome', outcome,
    'finished_at', now)
  redis.call('HDEL', record, unpack(FIELDS_OF_ACTIVE_CALLS))
  redis.call('DEL', key('inputs', call))
  redis.call('ZREM', index('due'), call)
  leave_queue(call, r)
  local retention = number(r.retention_ms)
  local size = RECORD_BYTES + number(r.item_bytes) - number(r.trimmed_bytes)
  redis.call('ZADD', index('done'), now + retention, call)
  redis.call('HSET', index('size'), call, size)
  redis.call('INCRBY', index('bytes'), size)
  -- The sweep drops the call; if nothing sweeps, the keys expire. That is by the server's clock,
  -- which may be stepped forward by hours.
  for _, kind in ipairs({'call', 'items', 'watch'}) do
    redis.call('PEXPIRE', key(kind, call), retention + 86400000)
  end
  if event ~= 'succeed' then stop_worker(call, r, state) end
  r.state, r.reason, r.finished_at = state, reason ~= '' and reason or '-', now
  publish(call, 'end ' .. call .. ' ' .. table.concat(ending(r), ' ') .. '\n' .. outcome)
  return true
end

-- Deletes the record and all that belongs to it; returns the bytes that it counted as.
local function drop(call)
  local r = read(call, {'queue', 'piggybacked'})
  if r.queue then leave_queue(call, r) end
  redis.call('ZREM', index('calls'), call)
  redis.call('DEL', key('call', call), key('inputs', call), key('items', call), key('watch', call),
    key('observers', call))
  redis.call('ZREM', index('due'), call)
  redis.call('ZREM', index('done'), call)
  local size = number(redis.call('HGET', index('size'), call))
  redis.call('HDEL', index('size'), call)
  if size > 0 then redis.call('DECRBY', index('bytes'), size) end
  return size
end
