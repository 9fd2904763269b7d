-- The partition's clock, in ms: the server's clock and an offset, kept in the hash 'clock'. The
-- server's clock may be stepped, by an operator, by NTP or by a failover to another host: sweep.lua
-- then changes the offset, so that this clock goes on as before.

-- The furthest that the clock goes beyond the last sweep, and a step that no sweep has seen shows.
local HOLD_MS = 2000
-- A smaller difference between clocks is no step, but the delay of a message.
local STEP_MS = 10000
-- After so many sweeps by processes that do not know what time to expect, the later time is
-- accepted: no process was running.
local DOUBTS = 5

local server_time = nil  -- a script runs at one moment

local function server_ms()
  if not server_time then
    local t = redis.call('TIME')
    server_time = t[1] * 1000 + math.floor(t[2] / 1000)
  end
  return server_time
end

local clock = nil  -- the offset, and the time of the last sweep (0: none)

local function unheld_ms()
  if not clock then
    local kept = redis.call('HMGET', index('clock'), 'offset', 'last')
    clock = {number(kept[1]), number(kept[2])}
  end
  return server_ms() + clock[1]
end

local function now_ms()
  local now = unheld_ms()
  local last = clock[2]
  if last == 0 then return now end
  return math.max(last, math.min(now, last + HOLD_MS))
end

-- Whether a process may derive later times from what the clock shows now.
local function is_certain()
  return math.abs(unheld_ms() - now_ms()) <= STEP_MS
end

-- Sets the clock at a sweep. expected: the time by the monotonic clock of the process that sweeps,
-- counted from when it last read this clock; nil: it has not. Returns the time; nil if it is in
-- doubt.
local function set_clock(expected)
  local kept = redis.call('HMGET', index('clock'), 'offset', 'last', 'doubts')
  local offset, last, doubts = number(kept[1]), number(kept[2]), number(kept[3])
  local server = server_ms()
  local now = server + offset
  -- A process that was paused expects less than what others have counted.
  if expected and expected < last - STEP_MS then expected = nil end
  if expected and math.abs(now - expected) > STEP_MS then
    now = math.max(expected, last)
  elseif last > 0 and now < last then
    now = last
  elseif not expected and last > 0 and now > last + STEP_MS and doubts < DOUBTS then
    redis.call('HINCRBY', index('clock'), 'doubts', 1)
    return nil
  end
  offset = now - server
  -- Back to the server's clock, at one part in 200: an hour takes eight days.
  if last > 0 then
    local most = math.floor((now - last) / 200)
    offset = offset - math.max(-most, math.min(offset, most))
  end
  redis.call('HSET', index('clock'), 'offset', offset, 'last', now, 'doubts', 0)
  redis.call('PEXPIRE', index('clock'), 86400000)  -- for a ledger that nothing uses any more
  clock = {offset, now}
  return now
end
