-- A gateway is alive that holds back messages; or it hands them over, as it shuts down.
-- ARGV: ago_ms (for how long nobody has renewed the holds: 0, or a lease to hand them over), queue,
--   call, queue, call, ...
-- Replies, a list: the calls that are not held any more: they were sent, or have ended
local renewed, words = now_ms() - ARGV[1], ARGV

local gone = {}
for n = 2, #words, 2 do
  local queue, call = words[n], words[n + 1]
  if redis.call('HEXISTS', key('call', call), 'held') == 1
    and redis.call('ZSCORE', waiting(queue), call) then
    redis.call('ZADD', waiting(queue), 'XX', renewed, call)
  else
    gone[#gone + 1] = call
  end
end
return gone
