-- ARGV: call, attempt, worker, lease_ms. A worker has the message.
local call = ARGV[1]
local r = read(call, {'attempt', 'worker', 'priority', 'piggybacked', unpack(DUE)})
if end_if_due(call, r, true) then r = read(call, {'state', 'attempt'}) end
local why = refusal(r, ARGV[2], 'claim')
if why then return {why} end
local now = now_ms()
if r.worker and r.worker ~= ARGV[3] and number(r.lease_until) > now then return {'TAKEN'} end
r.lease_until = now + tonumber(ARGV[4])
redis.call('HSET', key('call', call), 'worker', ARGV[3], 'lease_until', r.lease_until)
arrived(call, r)
schedule(call, r)
return {'OK'}
