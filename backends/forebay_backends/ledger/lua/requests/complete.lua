-- The requests have ended: the call is queued, if it is not live.
-- ARGV: call, list ('': the message is sent another way), message, count (of the requests that were
--   sent; '': not known)
-- Replies: OK | UNKNOWN | GAP | state
local call, list, message, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local r = read(call, {'state', 'attempt', 'queue', 'queue_wait', 'inputs', 'live', 'control'})
local why = refusal(r, r.attempt, 'complete')
if why then return {why} end
if not accepts_requests(r) then return {'OK'} end  -- a retry, after a lost reply
if count ~= '' and number(r.inputs) ~= tonumber(count) then return {'GAP'} end
if r.live then
  redis.call('HSET', key('call', call), 'live', 'complete')
  redis.call('HDEL', key('call', call), 'idle_until')
  announce_requests(call, r, r.inputs)
  return {'OK'}
end
local now = now_ms()
redis.call('HSET', key('call', call), 'state', NEXT[r.state].complete, 'queued', now,
  'queue_until', now + number(r.queue_wait))
redis.call('ZADD', waiting(r.queue), now, call)
schedule(call)
if list ~= '' then redis.call('LPUSH', list, message) end
return {'OK'}
