-- Publishes a transient item, or initial metadata; the record keeps the latest.
-- ARGV: call, attempt, field ('transient' or 'initial_metadata', also the frame's word), payload
-- Replies: OK | UNKNOWN | STALE | state
local call, attempt, field, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local r = read(call, {'state', 'attempt', 'deadline', unpack(WATCH_FIELDS)})
local why = refusal(r, attempt, 'emit') or (expire_if_overdue(call, r) and 'EXPIRED')
if why then return {why} end
redis.call('HSET', key('call', call), field, payload)
publish_or_abandon(call, r, field .. ' ' .. call .. '\n' .. payload)
return {'OK'}
