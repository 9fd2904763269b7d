-- ARGV: call, attempt, worker, lease_ms. A worker has the message.
local call = ARGV[1]
review(call, true)
local r = read(call, {'state', 'attempt', 'worker', 'lease_until', 'queue', 'priority'})
local why = refusal(r, ARGV[2], 'claim')
if why then return {why} end
local now = now_ms()
if r.worker and r.worker ~= ARGV[3] and number(r.lease_until) > now then return {'TAKEN'} end
redis.call('HSET', key('call', call), 'worker', ARGV[3], 'lease_until', now + tonumber(ARGV[4]))
arrived(call, r.queue, r.priority)
schedule(call)
return {'OK'}
