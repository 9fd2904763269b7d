-- ARGV: call, attempt, worker, control, token (one a begin: its answer may be lost and asked
-- for again). The handler starts.
local call = ARGV[1]
local r = read(call, {
  'attempt', 'worker', 'run_limit', 'request', 'inputs', 'metadata', 'item_limit', 'window',
  'method', 'fingerprint', 'token', 'priority', 'piggybacked', 'live', unpack(DUE),
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
if r.state == 'RUNNING' and r.attempt == ARGV[2] and r.token == ARGV[5] then return begun() end
local why = refusal(r, ARGV[2], 'begin')
if why then return {why} end
if r.worker and r.worker ~= ARGV[3] and number(r.lease_until) > now then return {'TAKEN'} end
local overall, until_ms = number(r.deadline), now + number(r.run_limit)
local limited = until_ms > now and (overall == 0 or overall > until_ms)
r.deadline = limited and until_ms or overall
r.lease_until = math.max(number(r.lease_until), now + LEASE_MS)
r.state = NEXT[r.state].begin
redis.call('HSET', key('call', call), 'state', r.state, 'begun', now, 'worker', ARGV[3],
  'control', ARGV[4], 'token', ARGV[5], 'overall', overall, 'deadline', r.deadline,
  'lease_until', r.lease_until)
arrived(call, r)
schedule(call, r)
return begun()
