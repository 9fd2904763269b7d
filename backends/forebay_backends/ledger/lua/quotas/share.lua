-- Reports how much of a tenant's quotas a gateway uses, and gives it a share until its lease ends.
-- The shares of all gateways never exceed a limit, unless a gateway used more than its share while
-- this server was away.
-- ARGV: tenant, gateway (its channel), lease_ms, calls a second (0: no limit), burst, tokens that
--   are needed, tokens beyond these, tokens given back, then for each limit: limit ('-1': none),
--   used, needed
-- Replies: gateways, tight ('1': a gateway got less than it needed within the last second), tokens,
--   wait_ms (until the next token), then the share of each limit ('-1': no limit)
local tenant, gateway, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local rate, burst, needed_tokens = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local more_tokens, returned_tokens = tonumber(ARGV[7]), tonumber(ARGV[8])
local numbers = arguments_from(9)

local TIGHT_MS, RECALL_MS = 1000, 100
local limits, kept, now = {}, key('quota', tenant), now_ms()
for n = 1, #numbers, 3 do
  limits[#limits + 1] = {
    limit = tonumber(numbers[n]), used = tonumber(numbers[n + 1]),
    needed = tonumber(numbers[n + 2]), others = 0,
  }
end

local bucket, gateways, others = {}, 1, {}
local all = redis.call('HGETALL', kept)
for n = 1, #all, 2 do
  local name, words = all[n], {}
  for word in all[n + 1]:gmatch('%S+') do words[#words + 1] = tonumber(word) end
  if not name:find(':', 1, true) then  -- channels have colons
    bucket[name] = words
  elseif words[1] <= now then
    redis.call('HDEL', kept, name)
  elseif name ~= gateway then
    gateways = gateways + 1
    others[#others + 1] = name
    for i, one in ipairs(limits) do one.others = one.others + (words[i + 1] or 0) end
  end
end

local short = false
for _, one in ipairs(limits) do
  local free = one.limit - one.others
  one.share = math.max(one.used, math.min(one.used + one.needed, free))
  one.left = math.max(free - one.share, 0)
  if one.limit >= 0 and one.share < one.used + one.needed then short = true end
end
local tight_until = bucket.tight and bucket.tight[1] or 0
if short then
  tight_until = now + TIGHT_MS
  if (bucket.recalled and bucket.recalled[1] or 0) + RECALL_MS <= now then
    for _, channel in ipairs(others) do publish_on(channel, 'recall ' .. tenant .. '\n') end
    redis.call('HSET', kept, 'recalled', now)
  end
  redis.call('HSET', kept, 'tight', tight_until)
end
local tight = tight_until > now
local words, in_use = {now + lease_ms}, needed_tokens > 0
for _, one in ipairs(limits) do
  if one.limit < 0 then one.share = 0
  elseif not tight then one.share = one.share + math.floor(one.left / (gateways + 1)) end
  if one.used > 0 or one.needed > 0 then in_use = true end
  words[#words + 1] = one.share
end
if in_use then
  redis.call('HSET', kept, gateway, table.concat(words, ' '))
else
  for _, one in ipairs(limits) do one.share = 0 end
  redis.call('HDEL', kept, gateway)
end

local tokens, wait_ms = 0, 0
if rate > 0 then
  local had, at = burst, now
  if bucket.tokens then had, at = bucket.tokens[1], bucket.tokens[2] end
  had = math.min(burst, had + math.max(now - at, 0) * rate / 1000 + returned_tokens)
  tokens = math.min(needed_tokens, math.floor(had))
  local left = had - tokens
  if tokens == needed_tokens then
    local more = math.min(more_tokens, math.floor(left / (gateways + 1)))
    tokens, left = tokens + more, left - more
  end
  if left < 1 then wait_ms = math.ceil((1 - left) * 1000 / rate) end
  redis.call('HSET', kept, 'tokens', string.format('%.6f %d', left, now))
end
redis.call('PEXPIRE', kept, lease_ms + (rate > 0 and math.ceil(burst * 1000 / rate) or 0))
local reply = {tostring(gateways), tight and '1' or '0', tostring(tokens), tostring(wait_ms)}
for _, one in ipairs(limits) do
  reply[#reply + 1] = one.limit < 0 and '-1' or string.format('%d', one.share)
end
return reply
