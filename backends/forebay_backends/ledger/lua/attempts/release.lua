-- The worker gives the call back: it had claimed the call, or had the message of a call that nobody
-- has claimed.
-- ARGV: call, attempt, worker
-- Replies: OK | OK queue again ('1', '0': if the attempt had begun, whether the call runs again)
--   | UNKNOWN | STALE | TAKEN | state
local call, attempt, worker = ARGV[1], ARGV[2], ARGV[3]

local r = read(call, {'state', 'attempt', 'worker'})
local why = refusal(r, attempt, 'lapse')
if why then return refuse(call, why) end
if r.worker and r.worker ~= worker then return refuse(call, 'TAKEN') end
lapse(call)
schedule(call)
return {'OK', unpack(lapses)}
