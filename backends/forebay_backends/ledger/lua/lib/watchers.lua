-- Gateways that watch a call (a sorted set of channels by the end of their lease), or observe it.
local function watchers(call)
  return redis.call('ZRANGE', key('watch', call), 0, -1)
end

local function count_live_watchers(call)
  return redis.call('ZCOUNT', key('watch', call), '(' .. now_ms(), '+inf')
end

-- Publishes to watchers and observers, and removes watchers that nobody reaches. Returns how many
-- watchers were reached, and how many there were. Observers are not counted: they keep no call
-- alive, and credit for items does not depend on them.
local function publish(call, frame)
  local all, reached = watchers(call), 0
  for _, channel in ipairs(all) do
    if publish_on(channel, frame) == 0 and COUNTS_SUBSCRIBERS then
      redis.call('ZREM', key('watch', call), channel)
    else
      reached = reached + 1
    end
  end
  for _, channel in ipairs(redis.call('SMEMBERS', key('observers', call))) do
    if not redis.call('ZSCORE', key('watch', call), channel) then
      publish_on(channel, frame)
    end
  end
  return reached, #all
end
