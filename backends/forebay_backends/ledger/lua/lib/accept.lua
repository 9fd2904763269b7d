-- Writes a call's record and, if the broker is this server, its task message; returns the reply of
-- accept.lua, which has the parameters, too. fields: a list of fields and values of the record.
local function accept_call(call, channel, lease_ms, state, timeout_ms, queue_wait_ms, list, message,
    queue, piggybacked, start, fields)
  local known = redis.call('HMGET', key('call', call), 'method', 'digest')
  if known[1] then return {'KNOWN', known[1], known[2]} end
  local now, due = now_ms(), {state = state}
  local function set(field, value)
    fields[#fields + 1], fields[#fields + 2] = field, value
  end
  set('state', state)
  set('attempt', '1')
  set('created_at', now)
  set('item_count', '0')
  set('item_bytes', '0')
  set('queue', queue)
  set('queue_wait_ms', queue_wait_ms)
  if timeout_ms > 0 then
    due.deadline = now + timeout_ms
    set('deadline', due.deadline)
  end
  if state == 'QUEUED' then
    due.queue_wait_until = now + queue_wait_ms
    set('queued_at', now)
    set('queue_wait_until', due.queue_wait_until)
    redis.call('ZADD', waiting(queue), now, call)
  end
  if state == 'DELAYED' then
    local start_at = tonumber(start) + (start:sub(1, 1) == '+' and now or 0)
    set('start_at', start_at)
    delay(call, start_at)
  end
  if piggybacked == '1' then
    set('piggybacked', '1')
    redis.call('HINCRBY', index('piggybacked'), queue, 1)
  end
  if channel ~= '' then
    due.watchers = (now + lease_ms) .. ' ' .. channel
    set('watchers', due.watchers)
  end
  redis.call('HSET', key('call', call), unpack(fields))
  if piggybacked == 'held' then hold(call, queue) end
  add_to_indexes(call, now)
  schedule(call, due)
  if list ~= '' then push(list, message) end
  return {'NEW'}
end
