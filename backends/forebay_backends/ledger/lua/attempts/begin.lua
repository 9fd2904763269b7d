-- A worker starts the handler.
-- ARGV: call, attempt, worker, control_channel, token (unique to this begin: if its reply was
--   lost, the worker sends it again and gets the same reply)
-- Replies: OK method request request_count ('-1': a single request) metadata timeout_ms ('-1':
--   none) item_limit_bytes window_bytes live fingerprint caller requests_end
--   | UNKNOWN | STALE | TAKEN | state
local call, attempt, worker = ARGV[1], ARGV[2], ARGV[3]
local control_channel, token = ARGV[4], ARGV[5]

local r = read(call, {
  'attempt', 'worker', 'run_limit_ms', 'request', 'request_count', 'metadata', 'item_limit_bytes',
  'window_bytes', 'method', 'fingerprint', 'caller', 'begin_token', 'priority', 'piggybacked',
  'live_requests', 'requests_end', unpack(SCHEDULE_FIELDS)
})
if end_if_due(call, r, true) then r = read(call, {'state', 'attempt'}) end
local now = now_ms()
local function begun()
  local deadline = number(r.deadline)
  return {
    'OK', r.method, r.request or '', r.request_count or '-1', r.metadata or '',
    tostring(deadline > 0 and math.max(deadline - now, 0) or -1), r.item_limit_bytes,
    r.window_bytes, r.live_requests and '1' or '0', r.fingerprint or '', r.caller or '',
    r.requests_end or '',
  }
end
if r.state == 'RUNNING' and r.attempt == attempt and r.begin_token == token then return begun() end
local why = refusal(r, attempt, 'begin') or (taken(r, worker) and 'TAKEN')
if why then return refuse(call, why) end
local was_due = due_at(r)
local call_deadline, run_until = number(r.deadline), now + number(r.run_limit_ms)
local limited = run_until > now and (call_deadline == 0 or call_deadline > run_until)
r.deadline = limited and run_until or call_deadline
r.lease_until = math.max(number(r.lease_until), now + LEASE_MS)
r.state = NEXT[r.state].begin
redis.call('HSET', key('call', call), 'state', r.state, 'begun_at', now, 'worker', worker,
  'control_channel', control_channel, 'begin_token', token, 'call_deadline', call_deadline,
  'deadline', r.deadline, 'lease_until', r.lease_until)
mark_claimed(call, r)
schedule(call, r, was_due)
return begun()
