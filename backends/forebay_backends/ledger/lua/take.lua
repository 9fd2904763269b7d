-- ARGV: call, attempt, claim, patience_ms, keep ('1': the claim does not lapse). Claims the first
-- part that nobody has, or that somebody has had for longer than the patience.
-- A claim is named once: its answer may be lost and asked for again.
local call = ARGV[1]
local parts, r = key('parts', call), read(call, {'state', 'attempt', 'deadline'})
local why = refusal(r, ARGV[2], 'emit') or (overdue(call, r) and 'EXPIRED')
if why then return {why} end
local shared = redis.call('HMGET', parts, 'count', 'window', 'next')
local count, first, now = number(shared[1]), number(shared[3]), now_ms()
local after = math.min(count, first + number(shared[2]))
for part = first, after - 1 do
  local had = redis.call('HMGET', parts, 'by:' .. part, 'since:' .. part, 'pieces:' .. part)
  if had[1] == ARGV[3] then return {'OK', tostring(part)} end
  local lapsed = had[2] and now - had[2] > tonumber(ARGV[4])
  if not had[3] and (not had[1] or lapsed) then
    redis.call('HSET', parts, 'by:' .. part, ARGV[3])
    if ARGV[5] == '1' then
      redis.call('HDEL', parts, 'since:' .. part)
    else
      redis.call('HSET', parts, 'since:' .. part, now)
    end
    return {'OK', tostring(part)}
  end
end
return {after < count and 'WAIT' or 'NONE'}
