-- The worker still has these calls. A call without a claim is claimed: the ledger may have been
-- away when its message came.
-- ARGV: worker, lease_ms, call, attempt, call, attempt, ...
-- Replies, for each call: OK | UNKNOWN | STALE | TAKEN | state
local worker, lease_ms, claims = ARGV[1], ARGV[2], arguments_from(3)

local replies = {}
for i = 1, #claims, 2 do
  local call, attempt = claims[i], claims[i + 1]
  local r = read(call, {'attempt', 'worker', 'priority', 'piggybacked', unpack(SCHEDULE_FIELDS)})
  local why = refusal(r, attempt, 'lapse')
  if not why and r.worker ~= worker and (NEXT[r.state].claim == nil or r.worker) then
    why = 'TAKEN'
  end
  if not why then
    r.lease_until = now_ms() + lease_ms
    redis.call('HSET', key('call', call), 'worker', worker, 'lease_until', r.lease_until)
    mark_claimed(call, r)
    schedule(call, r)
  end
  replies[#replies + 1] = why and refuse(call, why)[1] or 'OK'
end
return replies
