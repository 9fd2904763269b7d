-- A gateway is alive that holds back messages.
-- ARGV: queue, call, queue, call, ...
-- Replies, a list: the calls that are not held any more: they were sent, or have ended
local words = ARGV

local gone, now = {}, now_ms()
for n = 1, #words, 2 do
  local queue, call = words[n], words[n + 1]
  if redis.call('HEXISTS', key('call', call), 'held') == 1
    and redis.call('ZSCORE', waiting(queue), call) then
    redis.call('ZADD', waiting(queue), 'XX', now, call)
  else
    gone[#gone + 1] = call
  end
end
return gone
