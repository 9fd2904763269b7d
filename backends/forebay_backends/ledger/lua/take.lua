-- ARGV: call, attempt, first, bytes (of the requests before that), most, most_bytes. The handler of a
-- live call has read the requests before ordinal `first`, and wants what follows. Replies how
-- many there are in all ('-1': more may come), and some of them.
local call, first, read_bytes = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local r = read(call, {
  'state', 'deadline', 'live', 'inputs', 'input_bytes', 'window', 'full', 'let_go', 'idle',
  'idle_until', unpack(MOVABLE)
})
local why = refusal(r, ARGV[2], 'emit') or (overdue(call, r) and 'EXPIRED')
if why then return {why} end
local inputs, record, stream = number(r.inputs), key('call', call), key('in', call)
if first > inputs then return {'GAP'} end
local reply, size = {'OK', r.live == 'open' and '-1' or tostring(inputs)}, 0
for ordinal = first, math.min(inputs, first + ARGV[5]) - 1 do
  local id = (ordinal + 1) .. '-0'
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry then return {'GAP'} end
  size = size + #entry[2][2]
  if ordinal > first and size > tonumber(ARGV[6]) then break end
  reply[#reply + 1] = entry[2][2]
end
redis.call('HSET', record, 'taken', first, 'taken_bytes', read_bytes)
if first == inputs and r.live == 'open' and number(r.idle) > 0 and not r.idle_until then
  redis.call('HSET', record, 'idle_until', now_ms() + r.idle)
  schedule(call)
end
-- An attempt after this one would read them all again.
if read_bytes > number(r.let_go) and not movable(r) then
  redis.call('XTRIM', stream, 'MINID', (first + 1) .. '-0')
  redis.call('HSET', record, 'let_go', read_bytes)
end
if r.full and 2 * (number(r.input_bytes) - read_bytes) <= number(r.window) then
  redis.call('HDEL', record, 'full')
  tell_watchers(call, 'room ' .. call .. '\n')
end
return reply
