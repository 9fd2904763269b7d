-- Stores a request, once.
-- ARGV: call, ordinal, request (empty where an XADD follows), limit (bytes that the ledger may hold
--   of the call's requests), size (bytes)
-- Replies: OK | UNKNOWN | GAP | TOO_LARGE | FULL (the handler of a live call must first read the
--   requests that are stored) | state
local call, ordinal, request = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local limit, size = tonumber(ARGV[4]), tonumber(ARGV[5])

local r = read(call, {
  'state', 'attempt', 'inputs', 'input_bytes', 'live', 'taken', 'taken_bytes', 'let_go', 'window',
  'control',
})
local count, bytes = number(r.inputs), number(r.input_bytes) + size
local unread = number(r.input_bytes) - number(r.taken_bytes)
local why = refusal(r, r.attempt, 'receive') or (not accepts_requests(r) and r.state)
if not why and ordinal < count then return {'OK'} end
if not why and ordinal > count then why = 'GAP' end
if not why and r.live and unread > 0 and unread + size > math.min(number(r.window), limit) then
  redis.call('HSET', key('call', call), 'full', 1)
  why = 'FULL'
end
if not why and bytes - number(r.let_go) > limit then why = 'TOO_LARGE' end
if why then
  turn_away('in', call, request, size)
  return {why}
end
add('in', call, ordinal, request, size)
redis.call('HSET', key('call', call), 'inputs', ordinal + 1, 'input_bytes', bytes)
if r.live and number(r.taken) == ordinal then  -- the handler waits for this request, or soon will
  redis.call('HDEL', key('call', call), 'idle_until')
  announce_requests(call, r, ordinal + 1)
end
return {'OK'}
