-- receive
-- ARGV: call, ordinal, request (empty where it follows), limit, size. Spools one request. FULL: not
-- this one yet, since the handler of a live call has a window of others to read first.
local call, ordinal, size = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[5])
local r = read(call, {
  'state', 'attempt', 'inputs', 'input_bytes', 'live', 'taken', 'taken_bytes', 'let_go', 'window',
  'control',
})
local record, limit, count = key('call', call), tonumber(ARGV[4]), number(r.inputs)
local bytes = number(r.input_bytes) + size
local unread = bytes - size - number(r.taken_bytes)
local why = refusal(r, r.attempt, 'receive')
if not why and not receiving(r) then why = r.state end
if not why and ordinal < count then return {'OK'} end
if not why and ordinal > count then why = 'GAP' end
if not why and r.live and unread > 0 and unread + size > math.min(number(r.window), limit) then
  redis.call('HSET', record, 'full', 1)
  why = 'FULL'
end
if not why and bytes - number(r.let_go) > limit then why = 'TOO_LARGE' end
if why then
  turn_away('in', call, ARGV[3], size)
  return {why}
end
add('in', call, ordinal, ARGV[3], size)
redis.call('HSET', record, 'inputs', ordinal + 1, 'input_bytes', bytes)
if r.live and number(r.taken) == ordinal then  -- the handler waits for this one, or soon will
  redis.call('HDEL', record, 'idle_until')
  tell_of_requests(call, r, ordinal + 1)
end
return {'OK'}
