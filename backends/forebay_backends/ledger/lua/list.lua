-- ARGV: created ('': from the newest), call, oldest (ms; '': no bound), limit. Calls by the
-- time that they were accepted, newest first: those after (created, call), at most `limit`.
-- Replies how far it read ('' where that was the end), then of each call what filters ask for.
local before_ms, before_call, limit = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[4])
local index = P .. ':calls'

-- Byte by byte, as sorted sets do it: `<` would follow the server's locale.
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    if a:byte(i) ~= b:byte(i) then return a:byte(i) < b:byte(i) end
  end
  return #a < #b
end

local found = {}
local function look(newest, oldest)
  return redis.call('ZREVRANGEBYSCORE', index, newest, oldest, 'WITHSCORES', 'LIMIT', 0, limit + 1)
end
if before_ms and before_ms >= (tonumber(ARGV[3]) or 0) then
  -- Few calls share a millisecond, and only these need to be told apart by name.
  for _, call in ipairs(redis.call('ZREVRANGEBYSCORE', index, ARGV[1], ARGV[1])) do
    if before(call, before_call) then
      found[#found + 1] = call
      found[#found + 1] = ARGV[1]
    end
  end
end
for _, word in ipairs(look(before_ms and '(' .. ARGV[1] or '+inf', ARGV[3] ~= '' and ARGV[3] or '-inf')) do
  found[#found + 1] = word
end

local reply = {'', ''}
for i = 1, math.min(#found, 2 * limit), 2 do
  local call = found[i]
  local r = read(call, {'state', 'method', 'queue', 'begun', 'finished'})
  if r.state then
    for _, word in ipairs({
      call, found[i + 1], r.state, r.method, r.queue, r.begun or '0', r.finished or '0',
    }) do reply[#reply + 1] = word end
  else
    redis.call('ZREM', index, call)  -- its record has expired, or was lost
  end
end
if #found > 2 * limit then reply[1], reply[2] = found[2 * limit], found[2 * limit - 1] end
return reply
