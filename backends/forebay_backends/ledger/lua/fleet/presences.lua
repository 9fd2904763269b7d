-- The presences that the workers in the index have announced, also of those no longer live.
-- ARGV: probe_ms (how long the key lasts whose writing shows that the server takes writes; 0: none)
-- Replies, for each worker: until (s: it is live until then), its presence
local probe_ms = tonumber(ARGV[1])

if probe_ms > 0 then redis.call('SET', index('probe'), '', 'PX', probe_ms) end
local reply, workers = {}, redis.call('ZRANGE', index('workers'), 0, -1, 'WITHSCORES')
for n = 1, #workers, 2 do
  local presence = redis.call('GET', key('worker', workers[n]))
  if presence then
    reply[#reply + 1] = workers[n + 1]
    reply[#reply + 1] = presence
  end
end
return reply
