-- A watcher has disconnected.
-- ARGV: call, channel
-- Replies: OK
local call, channel = ARGV[1], ARGV[2]

local r = read(call, SCHEDULE_FIELDS)
if not r.state then return {'OK'} end
keep_watchers(call, r, function(one) return one.channel ~= channel end)
if active(r.state) then
  -- A watcher whose lease has ended may be late, as after an outage: the sweep removes it.
  if not r.watchers then abandon(call, 0) else schedule(call, r) end
end
return {'OK'}
