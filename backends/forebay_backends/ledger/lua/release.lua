-- ARGV: call, attempt, worker. The worker will not go on with the call: it had claimed it, or
-- had the message of a call that nobody has claimed.
local call = ARGV[1]
local r = read(call, {'state', 'attempt', 'worker'})
local why = refusal(r, ARGV[2], 'lapse')
if why then return {why} end
if r.worker and r.worker ~= ARGV[3] then return {'TAKEN'} end
lapse(call)
schedule(call)
return {'OK'}
