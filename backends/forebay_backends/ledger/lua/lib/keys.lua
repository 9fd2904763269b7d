-- Names of keys, and reading of records. KEYS[1] is the partition's prefix.
-- Channels and lists of the broker are named without the server's key prefix.
local KEY_PREFIX = KEYS[1]:sub(1, (KEYS[1]:find('forebay:{%d+}$') or 1) - 1)

local function index(name)
  return KEYS[1] .. ':' .. name
end

local function key(kind, call)
  return index(kind) .. ':' .. call
end

-- The tenant whose call it is; nil if it has none.
local function owner_of(call)
  return call:match('^([^/]+)/')
end

-- The index of the calls of the call's owner; nil if it has none.
local function calls_of_owner(call)
  local owner = owner_of(call)
  return owner and index('calls') .. ':' .. owner
end

local function add_to_indexes(call, created)
  redis.call('ZADD', index('calls'), created, call)
  local of_owner = calls_of_owner(call)
  if of_owner then redis.call('ZADD', of_owner, created, call) end
end

local function remove_from_indexes(call)
  redis.call('ZREM', index('calls'), call)
  local of_owner = calls_of_owner(call)
  if of_owner then redis.call('ZREM', of_owner, call) end
end

-- Returns how many subscribers it reached.
local function publish_on(channel, frame)
  return redis.call('PUBLISH', KEY_PREFIX .. channel, frame)
end

local function push(list, message)
  redis.call('LPUSH', KEY_PREFIX .. list, message)
end

local function read(call, fields)
  local values = redis.call('HMGET', key('call', call), unpack(fields))
  local record = {}
  for i, field in ipairs(fields) do
    record[field] = values[i] or nil
  end
  return record
end

local function number(text)
  return tonumber(text or '0') or 0
end

-- A state that a newer version wrote has no transitions here, so every event is refused.
setmetatable(NEXT, {__index = function() return {} end})

local function known(state)
  return rawget(NEXT, state) ~= nil
end

-- Whether the call exists and has not ended.
local function active(state)
  return state and next(NEXT[state]) ~= nil
end

-- Not `unpack`: it fails for some 8,000 values.
local function arguments_from(first)
  local rest = {}
  for i = first, #ARGV do rest[#rest + 1] = ARGV[i] end
  return rest
end
