-- ARGV: call, attempt, ordinal, item, announce_above. Stores one lasting item, once.
local call, ordinal, item = ARGV[1], tonumber(ARGV[3]), ARGV[4]
local r = read(call, {'deadline', 'count', 'sent', unpack(FLOW)})
local why = refusal(r, ARGV[2], 'emit')
if why then return {why} end
if overdue(call, r) then return {'EXPIRED'} end
local count = number(r.count)
if ordinal > count then return {'GAP'} end
if ordinal == count then
  redis.call('XADD', key('out', call), (ordinal + 1) .. '-0', 'm', item)
  local sent = number(r.sent) + #item
  redis.call('HSET', key('call', call), 'count', count + 1, 'sent', sent)
  local frame
  if #item > tonumber(ARGV[5]) then
    frame = 'more ' .. call .. ' ' .. (count + 1) .. ' ' .. sent .. '\n'
  else
    frame = 'item ' .. call .. ' ' .. ordinal .. '\n' .. item
  end
  tell_watchers(call, frame)
end
return flow(call, r)
