-- Calls by the time that they were accepted, newest first: those after (created, after), at most
-- limit.
-- ARGV: created ('': from the newest on), after (a call), oldest (ms; '': no bound), limit, owner
--   ('': the calls of all)
-- Replies: created call (the place up to which it read; '' '' at the end), then of each call: call
--   created_at state method queue begun_at finished_at worker reason
local created, after, oldest, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local calls = ARGV[5] == '' and index('calls') or index('calls') .. ':' .. ARGV[5]

-- Bytewise, as sorted sets compare: `<` would follow the server's locale.
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    if a:byte(i) ~= b:byte(i) then return a:byte(i) < b:byte(i) end
  end
  return #a < #b
end

local found = {}
if created ~= '' and tonumber(created) >= (tonumber(oldest) or 0) then
  -- Few calls share a millisecond, and only these must be compared by name.
  for _, call in ipairs(redis.call('ZREVRANGEBYSCORE', calls, created, created)) do
    if before(call, after) then
      found[#found + 1] = call
      found[#found + 1] = created
    end
  end
end
local older = redis.call('ZREVRANGEBYSCORE', calls,
  created ~= '' and '(' .. created or '+inf', oldest ~= '' and oldest or '-inf', 'WITHSCORES',
  'LIMIT', 0, limit + 1)
for _, word in ipairs(older) do found[#found + 1] = word end

local reply = {'', ''}
for i = 1, math.min(#found, 2 * limit), 2 do
  local call = found[i]
  local r = read(call, {
    'state', 'method', 'queue', 'begun_at', 'finished_at', 'worker', 'reason',
  })
  if r.state then
    for _, word in ipairs({
      call, found[i + 1], r.state, r.method, r.queue, r.begun_at or '0', r.finished_at or '0',
      r.worker or '', r.reason or '',
    }) do reply[#reply + 1] = word end
  else
    remove_from_indexes(call)  -- its record has expired, or was lost
  end
end
if #found > 2 * limit then reply[1], reply[2] = found[2 * limit], found[2 * limit - 1] end
return reply
