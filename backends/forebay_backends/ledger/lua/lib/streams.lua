-- Messages on a call's streams. A large message is not an argument of the script: an XADD follows
-- the script in the same transaction. See large_messages.py.

-- Adds a message of size bytes. Of a large one (message is empty), makes the stream exist: the XADD
-- that follows creates none.
local function add(kind, call, ordinal, message, size)
  local stream = key(kind, call)
  if #message == size then
    redis.call('XADD', stream, (ordinal + 1) .. '-0', 'm', message)
  elseif redis.call('EXISTS', stream) == 0 then
    redis.call('XADD', stream, '0-1', 'm', '')
    redis.call('XDEL', stream, '0-1')
  end
end

-- Refuses a message. The XADD of a large one then finds no stream; the last command of the
-- transaction renames the stream back.
local function refuse_message(kind, call, message, size)
  if #message < size and redis.call('EXISTS', key(kind, call)) == 1 then
    redis.call('RENAME', key(kind, call), key('parked', call))
  end
end

-- Stores an item, once, and publishes it; r: item_count, item_bytes and the WATCH_FIELDS. Items of
-- more than announce_above bytes are announced instead: gateways read them from the stream.
local function store_item(call, r, ordinal, item, announce_above, size)
  local count = number(r.item_count)
  if ordinal ~= count then return end
  add('items', call, ordinal, item, size)
  local bytes = number(r.item_bytes) + size
  redis.call('HSET', key('call', call), 'item_count', count + 1, 'item_bytes', bytes)
  if size > math.min(#item, announce_above) then
    publish_or_abandon(call, r, 'stored ' .. call .. ' ' .. (count + 1) .. ' ' .. bytes .. '\n')
  else
    publish_or_abandon(call, r, 'item ' .. call .. ' ' .. ordinal .. '\n' .. item)
  end
end
