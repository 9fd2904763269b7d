-- A worker received the call's message and will begin it.
-- ARGV: call, attempt, worker, lease_ms
-- Replies: OK | UNKNOWN | STALE | TAKEN | state
local call, attempt, worker, lease_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local r = read(call, {'attempt', 'worker', 'priority', 'piggybacked', unpack(SCHEDULE_FIELDS)})
if end_if_due(call, r, true) then r = read(call, {'state', 'attempt'}) end
local why = refusal(r, attempt, 'claim') or (taken(r, worker) and 'TAKEN')
if why then return refuse(call, why) end
r.lease_until = now_ms() + lease_ms
redis.call('HSET', key('call', call), 'worker', worker, 'lease_until', r.lease_until)
mark_claimed(call, r)
schedule(call, r)
return {'OK'}
