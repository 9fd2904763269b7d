-- A worker starts the handler.
-- ARGV: call, attempt, worker, control, token (unique to this begin: where its reply was lost, the
--   worker sends it again and gets the same reply)
-- Replies: OK method request inputs ('-1': a single request) metadata timeout_ms ('-1': none)
--   item_limit window live fingerprint | UNKNOWN | STALE | TAKEN | state
local call, attempt, worker, control, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local r = read(call, {
  'attempt', 'worker', 'run_limit', 'request', 'inputs', 'metadata', 'item_limit', 'window',
  'method', 'fingerprint', 'token', 'priority', 'piggybacked', 'live', unpack(SCHEDULE_FIELDS)
})
if end_if_due(call, r, true) then r = read(call, {'state', 'attempt'}) end
local now = now_ms()
local function begun()
  local deadline = number(r.deadline)
  return {
    'OK', r.method, r.request or '', r.inputs or '-1', r.metadata or '',
    tostring(deadline > 0 and math.max(deadline - now, 0) or -1), r.item_limit, r.window,
    r.live and '1' or '0', r.fingerprint or '',
  }
end
if r.state == 'RUNNING' and r.attempt == attempt and r.token == token then return begun() end
local why = refusal(r, attempt, 'begin') or (taken(r, worker) and 'TAKEN')
if why then return {why} end
local overall, run_until = number(r.deadline), now + number(r.run_limit)
local limited = run_until > now and (overall == 0 or overall > run_until)
r.deadline = limited and run_until or overall
r.lease_until = math.max(number(r.lease_until), now + LEASE_MS)
r.state = NEXT[r.state].begin
redis.call('HSET', key('call', call), 'state', r.state, 'begun', now, 'worker', worker,
  'control', control, 'token', token, 'overall', overall, 'deadline', r.deadline,
  'lease_until', r.lease_until)
mark_claimed(call, r)
schedule(call, r)
return begun()
