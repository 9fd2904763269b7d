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

local SETTLE_FIELDS = {
  'state', 'attempt', 'worker', 'control_channel', 'queue', 'retention_ms', 'item_bytes',
  'trimmed_bytes', 'item_count', 'queued_at', 'begun_at', 'piggybacked', 'request_count', 'on_end',
  'operation_metadata', 'cache', 'cache_ttl_ms', unpack(WATCH_FIELDS)
}

-- Keeps the end of a call for the process that tells the task of its route: the entry outlives the
-- record. r: its on_end, attempt, queued_at and begun_at.
local function keep_end(call, r, state, reason, now)
  local more = read(call, {'method', 'created_at', 'start_at'})
  local words = {
    call, more.method, state, reason ~= '' and reason or '-', r.attempt, more.created_at,
    more.start_at or 0, r.queued_at or 0, r.begun_at or 0, now,
  }
  redis.call('ZADD', index('ends'), now, table.concat(words, ' ') .. '\n' .. r.on_end)
end

-- Leads the call to a terminal state by an event; false if the event does not apply. r: the
-- SETTLE_FIELDS, if they were read. A unary method's response is its only item; its frame has the
-- response too, unless that is larger than announce_above.
local function settle(call, event, reason, outcome, r, response, announce_above)
  r = r or read(call, SETTLE_FIELDS)
  local state = r.state and NEXT[r.state][event]
  if not state or active(state) then return false end
  local now = now_ms()
  local record = key('call', call)
  local fields = {
    'state', state, 'reason', reason, 'outcome', outcome, 'finished_at', now,
  }
  if response and number(r.item_count) == 0 then
    r.item_count, r.item_bytes = 1, #response
    for _, word in ipairs({'item_count', 1, 'item_bytes', #response, 'response', response}) do
      fields[#fields + 1] = word
    end
  else
    response = nil
  end
  redis.call('HSET', record, unpack(fields))
  redis.call('HDEL', record, unpack(FIELDS_OF_ACTIVE_CALLS))
  if r.request_count then redis.call('DEL', key('inputs', call)) end
  redis.call('ZREM', index('due'), call)
  if NEXT[r.state].claim then leave_queue(call, r) end
  if NEXT[r.state].start then end_delay(call) end
  local retention = number(r.retention_ms)
  local size = RECORD_BYTES + number(r.item_bytes) - number(r.trimmed_bytes)
    + #(r.operation_metadata or '')
  redis.call('ZADD', index('done'), now + retention, call)
  redis.call('HSET', index('size'), call, size)
  redis.call('INCRBY', index('bytes'), size)
  -- The sweep drops the call; if nothing sweeps, the keys expire. That is by the server's clock,
  -- which may be stepped forward by hours.
  redis.call('PEXPIRE', record, retention + 86400000)
  if number(r.item_count) > 0 and not response then
    redis.call('PEXPIRE', key('items', call), retention + 86400000)
  end
  if r.on_end then keep_end(call, r, state, reason, now) end
  end_cached(call, r, event == 'succeed')
  stop_worker(call, r, state)
  r.state, r.reason, r.finished_at = state, reason ~= '' and reason or '-', now
  if not response or #response > announce_above then response = nil end
  publish(call, r, 'end ' .. call .. ' ' .. table.concat(ending(r), ' ') .. ' '
    .. (response and #response or '-') .. '\n' .. (response or '') .. outcome)
  return true
end

-- Deletes the record and all that belongs to it; returns the bytes that it counted as.
local function drop(call)
  local r = read(call, {'queue', 'piggybacked', 'start_at', 'cache'})
  if r.queue then leave_queue(call, r) end
  if r.start_at then end_delay(call) end
  end_cached(call, r, false)
  remove_from_indexes(call)
  redis.call('DEL', key('call', call), key('inputs', call), key('items', call),
    key('observers', call))
  redis.call('ZREM', index('due'), call)
  redis.call('ZREM', index('done'), call)
  local size = number(redis.call('HGET', index('size'), call))
  redis.call('HDEL', index('size'), call)
  if size > 0 then redis.call('DECRBY', index('bytes'), size) end
  return size
end
