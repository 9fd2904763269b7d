-- The requests have ended: the call is queued, if it is not live.
-- ARGV: call, list ('': the message is sent another way), message, count (of the requests that were
--   sent; '': not known), held ('1': the gateway holds the message back), requests_end ('': there
--   are no signing keys)
-- Replies: OK | UNKNOWN | GAP | state
local call, list, message, count, held = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'
local requests_end = ARGV[6]

local r = read(call, {
  'state', 'attempt', 'queue', 'queue_wait_ms', 'request_count', 'live_requests',
  'control_channel',
})
local why = refusal(r, r.attempt, 'complete')
if why then return refuse(call, why) end
if not accepts_requests(r) then return {'OK'} end  -- a retry, after a lost reply
if count ~= '' and number(r.request_count) ~= tonumber(count) then return refuse(call, 'GAP') end
if requests_end ~= '' then redis.call('HSET', key('call', call), 'requests_end', requests_end) end
if r.live_requests then
  redis.call('HSET', key('call', call), 'live_requests', 'complete')
  redis.call('HDEL', key('call', call), 'idle_until')
  announce_requests(call, r, r.request_count)
  return {'OK'}
end
enter_queue(call, r, 'complete', now_ms())
if held then hold(call, r.queue) end
schedule(call)
if list ~= '' then push(list, message) end
return {'OK'}
