-- ARGV: call, ordinal, request, limit. Spools one request message.
local call, ordinal = ARGV[1], tonumber(ARGV[2])
local r = read(call, {'state', 'inputs', 'input_bytes', 'attempt'})
local why = refusal(r, r.attempt, 'receive')
if why then return {why} end
if ordinal < number(r.inputs) then return {'OK'} end
if ordinal > number(r.inputs) then return {'GAP'} end
local bytes = number(r.input_bytes) + #ARGV[3]
if bytes > tonumber(ARGV[4]) then return {'TOO_LARGE'} end
redis.call('XADD', key('in', call), (ordinal + 1) .. '-0', 'm', ARGV[3])
redis.call('HSET', key('call', call), 'inputs', ordinal + 1, 'input_bytes', bytes)
return {'OK'}
