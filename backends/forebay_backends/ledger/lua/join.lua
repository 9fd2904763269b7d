-- ARGV: call, attempt. What one needs to compute parts of the attempt.
local call = ARGV[1]
local r = read(call, {
  'state', 'attempt', 'deadline', 'method', 'request', 'inputs', 'metadata', 'item_limit', 'window',
  'fingerprint',
})
local why = refusal(r, ARGV[2], 'emit') or (overdue(call, r) and 'EXPIRED')
if why then return {why} end
if redis.call('EXISTS', key('parts', call)) == 0 then return {'UNSHARED'} end
local deadline = number(r.deadline)
return {
  'OK', r.method, r.request or '', r.inputs or '-1', r.metadata or '',
  tostring(deadline > 0 and deadline - now_ms() or -1), r.item_limit, r.window, '0',
  r.fingerprint or '',
}
