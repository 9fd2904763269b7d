-- Gateways that watch a call: the record's field `watchers`, which has two words for each, the end of
-- its lease and its channel. Others observe the call: `observed` says that some do, or did.
local WATCH_FIELDS = {'watchers', 'observed'}

local function parse_watchers(r)
  local all = {}
  for lease_until, channel in string.gmatch(r.watchers or '', '(%d+) (%S+)') do
    all[#all + 1] = {lease_until = tonumber(lease_until), channel = channel}
  end
  return all
end

-- Keeps those of the watchers that `stays` accepts. HDEL comes first: a server whose memory is full
-- refuses a script whose first write could need more of it.
local function keep_watchers(call, r, stays)
  local words = {}
  for _, one in ipairs(parse_watchers(r)) do
    if stays(one) then
      words[#words + 1], words[#words + 2] = one.lease_until, one.channel
    end
  end
  r.watchers = #words > 0 and table.concat(words, ' ') or nil
  redis.call('HDEL', key('call', call), 'watchers')
  if r.watchers then redis.call('HSET', key('call', call), 'watchers', r.watchers) end
end

-- Adds a watcher, or renews its lease.
local function add_watcher(call, r, channel, lease_until)
  local words = {lease_until, channel}
  for _, one in ipairs(parse_watchers(r)) do
    if one.channel ~= channel then
      words[#words + 1], words[#words + 2] = one.lease_until, one.channel
    end
  end
  r.watchers = table.concat(words, ' ')
  redis.call('HSET', key('call', call), 'watchers', r.watchers)
end

local function count_live_watchers(r)
  local count, now = 0, now_ms()
  for _, one in ipairs(parse_watchers(r)) do
    if one.lease_until > now then count = count + 1 end
  end
  return count
end

-- When the last of the watchers' leases ends; 0 if nobody watches.
local function watched_until(r)
  local last = 0
  for _, one in ipairs(parse_watchers(r)) do last = math.max(last, one.lease_until) end
  return last
end

-- Publishes to watchers and observers, and removes watchers that nobody reaches; r: the
-- WATCH_FIELDS. Returns how many watchers were reached, and how many there were. Observers are not
-- counted: they keep no call alive, and credit for items does not depend on them.
local function publish(call, r, frame)
  local watchers, lost, is_watcher = parse_watchers(r), {}, {}
  for _, one in ipairs(watchers) do
    is_watcher[one.channel] = true
    if publish_on(one.channel, frame) == 0 and COUNTS_SUBSCRIBERS then
      lost[#lost + 1] = one.channel
      lost[one.channel] = true
    end
  end
  if #lost > 0 then
    keep_watchers(call, r, function(one) return not lost[one.channel] end)
  end
  if r.observed then
    for _, channel in ipairs(redis.call('SMEMBERS', key('observers', call))) do
      if not is_watcher[channel] or lost[channel] then publish_on(channel, frame) end
    end
  end
  return #watchers - #lost, #watchers
end
