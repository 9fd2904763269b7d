-- ARGV: worker, lease_ms, call, attempt, call, attempt, ... The worker still has these calls.
local answers = {}
for i = 3, #ARGV, 2 do
  local call, attempt = ARGV[i], ARGV[i + 1]
  local r = read(call, {'attempt', 'worker', 'priority', 'piggybacked', unpack(DUE)})
  local now = now_ms()
  -- Without a claim it is one: the ledger may have been away when the message came.
  local why = refusal(r, attempt, 'lapse')
  if not why and r.worker ~= ARGV[1] and (NEXT[r.state].claim == nil or r.worker) then
    why = 'TAKEN'
  end
  if not why then
    r.lease_until = now + ARGV[2]
    redis.call('HSET', key('call', call), 'worker', ARGV[1], 'lease_until', r.lease_until)
    arrived(call, r)
    schedule(call, r)
  end
  answers[#answers + 1] = why or 'OK'
end
return answers
