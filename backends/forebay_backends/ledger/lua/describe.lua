-- ARGV: call, bytes (of items that are told), review ('1': end the call first if it is due).
-- All that a record says to somebody who is not its watcher. Items that are larger are left
-- out; '+' before an item says that it is there.
local call, most = ARGV[1], tonumber(ARGV[2])
if ARGV[3] == '1' then review(call) end
local fields = {
  'state', 'reason', 'method', 'queue', 'worker', 'attempt', 'created', 'queued', 'begun',
  'finished', 'deadline', 'first', 'count', 'sent', 'outcome',
}
local r = read(call, fields)
if not r.state then return {'UNKNOWN'} end
local reply = {'OK', tostring(now_ms())}
for _, field in ipairs(fields) do reply[#reply + 1] = r[field] or '' end

local function told(item)
  return item and #item <= most and '+' .. item or ''
end
local last
if r.state == 'SUCCEEDED' then
  local entry = redis.call('XREVRANGE', key('out', call), '+', '-', 'COUNT', 1)[1]
  last = entry and entry[2][2]
end
reply[#reply + 1] = told(last)
reply[#reply + 1] = told(redis.call('HGET', key('call', call), 'transient'))
return reply
