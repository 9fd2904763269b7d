-- Stores an item, once.
-- ARGV: call, attempt, ordinal, item (empty if an XADD follows), announce_above, size (bytes)
-- Replies: OK items_read watchers | UNKNOWN | STALE | GAP | state
local call, attempt, ordinal, item = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local announce_above, size = tonumber(ARGV[5]), tonumber(ARGV[6])

local r = read(call, {'deadline', 'item_count', 'item_bytes', unpack(FLOW_FIELDS)})
local why = refusal(r, attempt, 'emit') or (expire_if_overdue(call, r) and 'EXPIRED')
  or (ordinal > number(r.item_count) and 'GAP')
if why then
  refuse_message('items', call, item, size)
  return refuse(call, why)
end
end_credit_wait(call, r)
store_item(call, r, ordinal, item, announce_above, size)
return flow(call, r)
