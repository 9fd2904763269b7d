-- The handler of a live call has read the requests before ordinal first, and asks for the next.
-- ARGV: call, attempt, first, read_bytes (of the requests before it), most (requests in the reply),
--   most_bytes (of the reply)
-- Replies: OK total ('-1': more may come) requests_end request ... | UNKNOWN | STALE | GAP | state
local call, attempt, first, read_bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local most, most_bytes = tonumber(ARGV[5]), tonumber(ARGV[6])

local r = read(call, {
  'state', 'deadline', 'live_requests', 'request_count', 'request_bytes', 'window_bytes',
  'upload_waits', 'trimmed_request_bytes', 'idle_limit_ms', 'idle_until', 'watchers', 'observed',
  'requests_end',
  unpack(RERUN_FIELDS)
})
local why = refusal(r, attempt, 'emit') or (expire_if_overdue(call, r) and 'EXPIRED')
if why then return refuse(call, why) end
local count, open = number(r.request_count), r.live_requests == 'open'
local record, stream = key('call', call), key('inputs', call)
if first > count then return refuse(call, 'GAP') end
local reply, size = {'OK', open and '-1' or tostring(count), r.requests_end or ''}, 0
for ordinal = first, math.min(count, first + most) - 1 do
  local id = (ordinal + 1) .. '-0'
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry then return refuse(call, 'GAP') end
  size = size + #entry[2][2]
  if ordinal > first and size > most_bytes then break end
  reply[#reply + 1] = entry[2][2]
end
redis.call('HSET', record, 'requests_read', first, 'request_bytes_read', read_bytes)
if first == count and open and number(r.idle_limit_ms) > 0 and not r.idle_until then
  redis.call('HSET', record, 'idle_until', now_ms() + r.idle_limit_ms)
  schedule(call)
end
-- Another attempt would read all requests again.
if read_bytes > number(r.trimmed_request_bytes) and not may_run_again(r) then
  redis.call('XTRIM', stream, 'MINID', (first + 1) .. '-0')
  redis.call('HSET', record, 'trimmed_request_bytes', read_bytes)
end
if r.upload_waits and 2 * (number(r.request_bytes) - read_bytes) <= number(r.window_bytes) then
  redis.call('HDEL', record, 'upload_waits')
  publish_or_abandon(call, r, 'window_open ' .. call .. '\n')
end
return reply
