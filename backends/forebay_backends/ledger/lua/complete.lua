-- ARGV: call, list, message, inputs (how many; '': as many as there are). The requests have
-- ended: the call is queued, if it is not live.
local call = ARGV[1]
local r = read(call, {'state', 'attempt', 'queue', 'queue_wait', 'inputs', 'live', 'control'})
local why = refusal(r, r.attempt, 'complete')
if why then return {why} end
if not receiving(r) then return {'OK'} end  -- asked again: the first answer was lost
if ARGV[4] ~= '' and number(r.inputs) ~= tonumber(ARGV[4]) then return {'GAP'} end
if r.live then
  redis.call('HSET', key('call', call), 'live', 'complete')
  redis.call('HDEL', key('call', call), 'idle_until')
  tell_of_requests(call, r, r.inputs)
  return {'OK'}
end
local now = now_ms()
redis.call('HSET', key('call', call), 'state', NEXT[r.state].complete, 'queued', now,
  'queue_until', now + number(r.queue_wait))
redis.call('ZADD', waiting(r.queue), now, call)
schedule(call)
if ARGV[2] ~= '' then redis.call('LPUSH', ARGV[2], ARGV[3]) end
return {'OK'}
