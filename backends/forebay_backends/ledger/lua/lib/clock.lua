-- The partition's clock, in ms: the server's clock and an offset, kept in the hash 'clock'. The
-- server's clock may be stepped, by an operator, by NTP or by a failover to another host: sweep.lua
-- then changes the offset, so that this clock goes on as before.

-- If nothing has swept for longer, either the server's clock was stepped or there was an outage. The
-- process that runs the script knows which: it sends the time that it expects (see expected_clock.py).
-- A smaller difference between clocks is no step, but the delay of a message.
local STEP_MS = 10000
-- For a process that does not know, the clock then stands still so long after the last sweep.
local HOLD_MS = 2000

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

-- The time; nil if it is in doubt: a step or an outage, and this process does not know which.
local function certain_ms()
  local now = unheld_ms()
  local last = clock[2]
  if last == 0 or (now >= last and now <= last + STEP_MS) then return now end
  -- A process that was paused expects less than what others have counted.
  if not expected_ms or expected_ms < last - STEP_MS then
    return now < last and now >= last - STEP_MS and last or nil
  end
  return math.max(math.abs(now - expected_ms) > STEP_MS and expected_ms or now, last)
end

local moment = nil  -- what now_ms returns

local function now_ms()
  moment = moment or certain_ms()
    or math.max(clock[2], math.min(unheld_ms(), clock[2] + HOLD_MS))
  return moment
end

-- Sets the clock at a sweep, and returns the time. A process that sweeps without knowing what time to
-- expect has waited for those that know, so a later time is accepted; time never goes back.
local function set_clock()
  local now = certain_ms() or math.max(unheld_ms(), clock[2])
  local last, offset = clock[2], now - server_ms()
  -- Back to the server's clock, at one part in 200: an hour takes eight days. Never by much at once,
  -- as after an outage: the clock would stand still for as long.
  if last > 0 then
    local most = math.floor(math.min(now - last, STEP_MS) / 200)
    offset = offset - math.max(-most, math.min(offset, most))
  end
  redis.call('HSET', index('clock'), 'offset', offset, 'last', now)
  redis.call('PEXPIRE', index('clock'), 86400000)  -- for a ledger that nothing uses any more
  moment = now
  return now
end
