-- ARGV: call, attempt, worker, control, token (one a begin: its answer may be lost and asked
-- for again). The handler starts.
local call = ARGV[1]
review(call, true)
local r = read(call, {
  'state', 'attempt', 'worker', 'lease_until', 'deadline', 'run_limit', 'request', 'inputs',
  'metadata', 'item_limit', 'window', 'method', 'token', 'queue', 'priority',
})
local now = now_ms()
local function begun()
  local deadline = number(r.deadline)
  return {
    'OK', r.method, r.request or '', r.inputs or '-1', r.metadata or '',
    tostring(deadline > 0 and math.max(deadline - now, 0) or -1), r.item_limit, r.window,
  }
end
if r.state == 'RUNNING' and r.attempt == ARGV[2] and r.token == ARGV[5] then return begun() end
local why = refusal(r, ARGV[2], 'begin')
if why then return {why} end
if r.worker and r.worker ~= ARGV[3] and number(r.lease_until) > now then return {'TAKEN'} end
local deadline = number(r.deadline)
redis.call('HSET', key('call', call), 'overall', deadline)
if number(r.run_limit) > 0 and (deadline == 0 or deadline > now + number(r.run_limit)) then
  deadline = now + number(r.run_limit)
end
redis.call('HSET', key('call', call), 'state', NEXT[r.state].begin, 'begun', now,
  'worker', ARGV[3], 'control', ARGV[4], 'token', ARGV[5], 'deadline', deadline,
  'lease_until', math.max(number(r.lease_until), now + LEASE_MS))
arrived(call, r.queue, r.priority)
schedule(call)
r.deadline = deadline
return begun()
