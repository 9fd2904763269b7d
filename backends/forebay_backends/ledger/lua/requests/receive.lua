-- Stores a request, once.
-- ARGV: call, ordinal, request (empty if an XADD follows), limit (bytes that the ledger may hold
--   of the call's requests), size (bytes)
-- Replies: OK | UNKNOWN | GAP | TOO_LARGE | FULL (the handler of a live call must first read the
--   requests that are stored) | state
local call, ordinal, request = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local limit, size = tonumber(ARGV[4]), tonumber(ARGV[5])

local r = read(call, {
  'state', 'attempt', 'request_count', 'request_bytes', 'live_requests', 'requests_read',
  'request_bytes_read', 'trimmed_request_bytes', 'window_bytes', 'control_channel',
})
local count, bytes = number(r.request_count), number(r.request_bytes) + size
local unread = number(r.request_bytes) - number(r.request_bytes_read)
local why = refusal(r, r.attempt, 'receive') or (not accepts_requests(r) and r.state)
if not why and ordinal < count then return {'OK'} end
if not why and ordinal > count then why = 'GAP' end
local window = math.min(number(r.window_bytes), limit)
if not why and r.live_requests and unread > 0 and unread + size > window then
  redis.call('HSET', key('call', call), 'upload_waits', 1)
  why = 'FULL'
end
if not why and bytes - number(r.trimmed_request_bytes) > limit then why = 'TOO_LARGE' end
if why then
  refuse_message('inputs', call, request, size)
  return refuse(call, why)
end
add('inputs', call, ordinal, request, size)
redis.call('HSET', key('call', call), 'request_count', ordinal + 1, 'request_bytes', bytes)
if r.live_requests and number(r.requests_read) == ordinal then
  -- The handler waits for this request, or soon will.
  redis.call('HDEL', key('call', call), 'idle_until')
  announce_requests(call, r, ordinal + 1)
end
return {'OK'}
