-- The gateway that held back the call's message sends it now.
-- ARGV: call, list ('': the message is sent another way), message, piggybacked ('1': another call's
--   message names this call)
-- Replies: OK | UNKNOWN | state (QUEUED: the message was sent before)
local call, list, message, piggybacked = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'

local r = read(call, {'state', 'queue', 'held'})
if not r.state then return refuse(call, 'UNKNOWN') end
if not r.held or not redis.call('ZSCORE', waiting(r.queue), call) then
  return refuse(call, r.state)
end
redis.call('ZADD', waiting(r.queue), 'XX', now_ms(), call)
release_hold(call, r.queue, piggybacked)
if list ~= '' then push(list, message) end
return {'OK'}
