-- All that a record reports to somebody who does not watch the call.
-- ARGV: call, most_bytes (larger items are left out), review ('1': end the call first if it is due)
-- Replies: UNKNOWN | OK now state reason method queue worker attempt created_at start_at queued_at
--   begun_at finished_at deadline trimmed_items item_count item_bytes request_count request_bytes
--   priority outcome earlier_attempts last_item transient operation_metadata (the last three have
--   '+' before them; '': there is none; '-': left out) metadata caller ('' unless reviewed)
local call, most_bytes, reviewed = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'

if reviewed then review(call) end
local fields = {
  'state', 'reason', 'method', 'queue', 'worker', 'attempt', 'created_at', 'start_at', 'queued_at',
  'begun_at', 'finished_at', 'deadline', 'trimmed_items', 'item_count', 'item_bytes',
  'request_count', 'request_bytes', 'priority', 'outcome', 'earlier_attempts',
}
local r = read(call, fields)
if not r.state then return refuse(call, 'UNKNOWN') end
r.request_count = r.request_count or '1'  -- only a stream of requests is counted
local reply = {'OK', tostring(now_ms())}
for _, field in ipairs(fields) do reply[#reply + 1] = r[field] or '' end

local function small(item)
  return item and (#item <= most_bytes and '+' .. item or '-') or ''
end
local last
if r.state == 'SUCCEEDED' then
  last = read(call, {'response'}).response
  if not last then
    local entry = redis.call('XREVRANGE', key('items', call), '+', '-', 'COUNT', 1)[1]
    last = entry and entry[2][2]
  end
end
reply[#reply + 1] = small(last)
local latest = read(call, {'transient', 'operation_metadata'})
reply[#reply + 1] = small(latest.transient)
reply[#reply + 1] = small(latest.operation_metadata)
local more = reviewed and read(call, {'metadata', 'caller'}) or {}
reply[#reply + 1] = more.metadata or ''
reply[#reply + 1] = more.caller or ''
return reply
