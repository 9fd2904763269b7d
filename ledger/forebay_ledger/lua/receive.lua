-- receive
-- ARGV: call, ordinal, request (empty where it follows), limit, size. Spools one request.
local call, ordinal, size = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[5])
local r = read(call, {'state', 'inputs', 'input_bytes', 'attempt'})
local count, bytes = number(r.inputs), number(r.input_bytes) + size
local why = refusal(r, r.attempt, 'receive')
if not why and ordinal < count then return {'OK'} end
if not why and ordinal > count then why = 'GAP' end
if not why and bytes > tonumber(ARGV[4]) then why = 'TOO_LARGE' end
if why then
  turn_away('in', call, ARGV[3], size)
  return {why}
end
add('in', call, ordinal, ARGV[3], size)
redis.call('HSET', key('call', call), 'inputs', ordinal + 1, 'input_bytes', bytes)
return {'OK'}
