-- ARGV: call, attempt, part, piece, pieces, content. Stores a piece of a part, once; when all of
-- its pieces are there, the owner is told.
local call, part, pieces = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[5])
local parts, r = key('parts', call), read(call, {'state', 'attempt', 'deadline', 'control'})
local why = refusal(r, ARGV[2], 'emit') or (overdue(call, r) and 'EXPIRED')
if why then return {why} end
local shared = redis.call('HMGET', parts, 'count', 'window', 'next')
local first = number(shared[3])
if part < first then return {'OK'} end
if part >= math.min(number(shared[1]), first + number(shared[2])) then return {'GAP'} end
if redis.call('HSETNX', parts, part .. ':' .. ARGV[4], ARGV[6]) == 0 then return {'OK'} end
if redis.call('HINCRBY', parts, 'stored:' .. part, 1) == pieces then
  redis.call('HSET', parts, 'pieces:' .. part, pieces)
  if r.control then
    redis.call('PUBLISH', r.control, 'part ' .. call .. ' ' .. ARGV[2] .. ' ' .. part)
  end
end
return {'OK'}
