-- Publishes a transient item, or initial metadata; the record keeps the latest.
-- ARGV: call, attempt, field of the record, word of the frame, payload
-- Replies: OK | UNKNOWN | STALE | state
local call, attempt, field, word, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local r = read(call, {'state', 'attempt', 'deadline', unpack(WATCH_FIELDS)})
local why = refusal(r, attempt, 'emit') or (expire_if_overdue(call, r) and 'EXPIRED')
if why then return refuse(call, why) end
redis.call('HSET', key('call', call), field, payload)
publish_or_abandon(call, r, word .. ' ' .. call .. '\n' .. payload)
return {'OK'}
