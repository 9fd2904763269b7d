-- A watcher has read `count` items.
-- ARGV: call, count
-- Replies: OK | UNKNOWN | state
local call, count = ARGV[1], ARGV[2]

local r = read(call, {
  'state', 'items_read', 'control_channel', 'attempt', 'credit_wait_since',
})
if not active(r.state) then return refuse(call, r.state or 'UNKNOWN') end
if tonumber(count) > number(r.items_read) then
  redis.call('HSET', key('call', call), 'items_read', count)
  end_credit_wait(call, r)
  if r.control_channel then
    publish_on(r.control_channel, 'credit ' .. call .. ' ' .. r.attempt .. ' ' .. count)
  end
end
return {'OK'}
