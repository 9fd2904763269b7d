-- emit
-- ARGV: call, attempt, ordinal, item (empty where it follows), announce_above, size. Stores one
-- lasting item, once.
local call, ordinal = ARGV[1], tonumber(ARGV[3])
local r = read(call, {'deadline', 'count', 'sent', unpack(FLOW)})
local why = refusal(r, ARGV[2], 'emit')
if not why and overdue(call, r) then why = 'EXPIRED' end
if not why and ordinal > number(r.count) then why = 'GAP' end
if why then
  turn_away('out', call, ARGV[4], tonumber(ARGV[6]))
  return {why}
end
store(call, r, ordinal, ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]))
return flow(call, r)
