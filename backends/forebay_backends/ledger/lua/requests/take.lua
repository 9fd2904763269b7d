-- The handler of a live call has read the requests before ordinal first, and asks for the next.
-- ARGV: call, attempt, first, read_bytes (of the requests before it), most (requests in the reply),
--   most_bytes (of the reply)
-- Replies: OK total ('-1': more may come) request ... | UNKNOWN | STALE | GAP | state
local call, attempt, first, read_bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local most, most_bytes = tonumber(ARGV[5]), tonumber(ARGV[6])

local r = read(call, {
  'state', 'deadline', 'live', 'inputs', 'input_bytes', 'window', 'full', 'let_go', 'idle',
  'idle_until', unpack(RERUN_FIELDS)
})
local why = refusal(r, attempt, 'emit') or (expire_if_overdue(call, r) and 'EXPIRED')
if why then return {why} end
local inputs, record, stream = number(r.inputs), key('call', call), key('in', call)
if first > inputs then return {'GAP'} end
local reply, size = {'OK', r.live == 'open' and '-1' or tostring(inputs)}, 0
for ordinal = first, math.min(inputs, first + most) - 1 do
  local id = (ordinal + 1) .. '-0'
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry then return {'GAP'} end
  size = size + #entry[2][2]
  if ordinal > first and size > most_bytes then break end
  reply[#reply + 1] = entry[2][2]
end
redis.call('HSET', record, 'taken', first, 'taken_bytes', read_bytes)
if first == inputs and r.live == 'open' and number(r.idle) > 0 and not r.idle_until then
  redis.call('HSET', record, 'idle_until', now_ms() + r.idle)
  schedule(call)
end
-- Another attempt would read all requests again.
if read_bytes > number(r.let_go) and not may_run_again(r) then
  redis.call('XTRIM', stream, 'MINID', (first + 1) .. '-0')
  redis.call('HSET', record, 'let_go', read_bytes)
end
if r.full and 2 * (number(r.input_bytes) - read_bytes) <= number(r.window) then
  redis.call('HDEL', record, 'full')
  publish_or_abandon(call, 'room ' .. call .. '\n')
end
return reply
