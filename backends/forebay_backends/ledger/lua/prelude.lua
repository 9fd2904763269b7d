-- What every script starts with. KEYS[1] is the partition's prefix, ARGV[1]
-- (where the script is about one call) the call's key; the life cycle's table NEXT,
-- LEASE_MS, RECORD_BYTES and CONTROL, the start of control channels' names, are put in by
-- the loader. All keys share the prefix's hash tag.
--
-- A record is a hash `PREFIX:call:KEY`; times are ms of this server's clock.
--   state reason outcome          where the call stands, and how it ended
--   method digest fingerprint     what it is
--   task queue priority           where its message goes
--   attempt worker control token  who runs it; lease_until: the claim's end
--   piggybacked                         whether its message is another call's, which names this one
--   created queued begun finished
--   deadline queue_until left     when it is due: 0 or absent where it is not
--   overall                       the call's deadline, where the attempt's is sooner
--   run_limit linger detach retention item_limit window attempts_limit rerun deterministic
--   request metadata              the single request; the handed-on metadata
--   inputs input_bytes            of a request stream, `PREFIX:in:KEY`
--   live                          of a live call: 'open' while requests may come, then 'complete'
--   taken taken_bytes             of those, what the handler has read; let_go: bytes of what is gone
--   full                          whether a gateway waits until more of them is read
--   idle idle_until               how long the handler waits for the next one; until when it does
--   count sent                    lasting items emitted, and their bytes
--   first base                    items trimmed off `PREFIX:out:KEY`, and their bytes
--   read_count                    items that the foremost watcher has read
--   attached                      whether anybody but the first caller was told of it
--   transient initial             the latest transient item; initial metadata
-- Beside it, besides streams of items: who watches (`PREFIX:watch:KEY`, channels by the end of
-- their lease), and who looks on (`PREFIX:observers:KEY`).
-- `PREFIX:parked:KEY` is one of the streams, within a transaction that refuses a message for it.
-- Indexes of the partition:
--   PREFIX:sweep_state               since when it is swept without a pause, and when it last was
--   PREFIX:calls                  all calls, by when they were created
--   PREFIX:due                    live calls, by when something must happen to them
--   PREFIX:done size bytes        finished calls, by when their retention is over; what they hold
--   PREFIX:waiting:QUEUE          queued calls that no worker has, by when their message was
--                                 sent (0: it is yet to be sent)
--   PREFIX:piggybacked                 by QUEUE, how many of those ride: another's message names them
--   PREFIX:newest_claimed_sent                  by QUEUE PRIORITY, the newest such time of a call that a
--                                 worker got
local P = KEYS[1]

local function key(kind, call)
  return P .. ':' .. kind .. ':' .. call
end

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
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

local function alive(state)
  return state and next(NEXT[state]) ~= nil
end

local function waiting(queue)
  return P .. ':waiting:' .. queue
end

local function watchers(call)
  return redis.call('ZRANGE', key('watch', call), 0, -1)
end

-- Before this no lease lapses; `sweep` sets it.
local hold_until = 0

-- What says when something must happen to a call.
local DUE = {
  'state', 'deadline', 'queue_until', 'queue', 'left', 'linger', 'detach', 'lease_until',
  'idle_until',
}

-- When something must happen to the call next, kept in the partition's index; r: the DUE of it,
-- where that was read.
local function schedule(call, r)
  r = r or read(call, DUE)
  if not alive(r.state) then return end
  local due = math.huge
  local function at(time)
    if time > 0 and time < due then due = time end
  end
  at(number(r.deadline))
  at(number(r.idle_until))
  if r.lease_until then at(math.max(number(r.lease_until), hold_until)) end
  if r.state == 'QUEUED' then at(number(r.queue_until)) end
  if r.left and (r.detach ~= '1' or r.state == 'RECEIVING') then
    at(number(r.left) + number(r.linger))
  end
  local last = redis.call('ZRANGE', key('watch', call), -1, -1, 'WITHSCORES')
  if last[2] then at(math.max(tonumber(last[2]), hold_until)) end
  if due < math.huge then
    redis.call('ZADD', P .. ':due', due, call)
  else
    redis.call('ZREM', P .. ':due', call)
  end
end

-- How many gateways watch, of those whose lease has not ended.
local function live_watchers(call)
  return redis.call('ZCOUNT', key('watch', call), '(' .. now_ms(), '+inf')
end

-- Publishes to whoever watches or looks on; how many watchers heard it, and how many there
-- were. An onlooker's absence means nothing: it neither keeps a call alive nor reads its items.
local function tell(call, frame)
  local all, reached = watchers(call), 0
  for _, channel in ipairs(all) do
    if redis.call('PUBLISH', channel, frame) == 0 then
      redis.call('ZREM', key('watch', call), channel)
    else
      reached = reached + 1
    end
  end
  for _, channel in ipairs(redis.call('SMEMBERS', key('observers', call))) do
    if not redis.call('ZSCORE', key('watch', call), channel) then
      redis.call('PUBLISH', channel, frame)
    end
  end
  return reached, #all
end

-- The call, whose queue and piggybacked are in r, waits for no worker any more; when its message was
-- sent, where it did wait.
local function unwait(call, r)
  local sent = redis.call('ZSCORE', waiting(r.queue), call)
  if not sent then return nil end
  redis.call('ZREM', waiting(r.queue), call)
  if r.piggybacked then redis.call('HINCRBY', P .. ':piggybacked', r.queue, -1) end
  return sent
end

local function drop(call)
  local r = read(call, {'queue', 'piggybacked'})
  if r.queue then unwait(call, r) end
  redis.call('ZREM', P .. ':calls', call)
  redis.call('DEL', key('call', call), key('in', call), key('out', call), key('watch', call),
    key('observers', call))
  redis.call('ZREM', P .. ':due', call)
  redis.call('ZREM', P .. ':done', call)
  local size = number(redis.call('HGET', P .. ':size', call))
  redis.call('HDEL', P .. ':size', call)
  if size > 0 then redis.call('DECRBY', P .. ':bytes', size) end
  return size
end

-- How the call ended, in the words of the frame and of `watch`'s reply.
local function ending(r)
  local queued, begun, finished = number(r.queued), number(r.begun), number(r.finished)
  local started = begun > 0 and begun or finished
  return {
    r.state, r.reason or '', r.count or '0', r.attempt or '1',
    tostring(queued > 0 and started - queued or 0),
    tostring(begun > 0 and finished - begun or 0),
  }
end

local ENDING = {'state', 'reason', 'count', 'attempt', 'queued', 'begun', 'finished'}

-- Tells the process that runs the call, and the worker's main one, that it is over there.
local function tell_worker(call, r, state)
  local frame = 'stop ' .. call .. ' ' .. r.attempt .. ' ' .. state
  if r.control then redis.call('PUBLISH', r.control, frame) end
  if r.worker then redis.call('PUBLISH', CONTROL .. r.worker, frame) end
end

-- Leads the call to a terminal state by an event; false where it has no place.
local function settle(call, event, reason, outcome)
  local r = read(call, {
    'state', 'attempt', 'worker', 'control', 'queue', 'retention', 'sent', 'base',
    'count', 'queued', 'begun', 'piggybacked',
  })
  local state = r.state and NEXT[r.state][event]
  if not state or alive(state) then return false end
  local now = now_ms()
  local record = key('call', call)
  redis.call('HSET', record, 'state', state, 'reason', reason, 'outcome', outcome, 'finished', now)
  redis.call('HDEL', record, 'request', 'transient', 'worker', 'lease_until', 'control', 'token',
    'queue_until', 'queue_wait', 'detach', 'run_limit', 'inputs',
    'input_bytes', 'read_count', 'attempts_limit', 'rerun', 'deterministic', 'metadata',
    'overall', 'fingerprint', 'live', 'taken', 'taken_bytes', 'let_go', 'full', 'idle', 'idle_until')
  redis.call('DEL', key('in', call))
  redis.call('ZREM', P .. ':due', call)
  unwait(call, r)
  local retention = number(r.retention)
  local size = RECORD_BYTES + number(r.sent) - number(r.base)
  redis.call('ZADD', P .. ':done', now + retention, call)
  redis.call('HSET', P .. ':size', call, size)
  redis.call('INCRBY', P .. ':bytes', size)
  for _, kind in ipairs({'call', 'out', 'watch'}) do
    redis.call('PEXPIRE', key(kind, call), retention + 60000)
  end
  if event ~= 'succeed' then tell_worker(call, r, state) end
  r.state, r.reason, r.finished = state, reason ~= '' and reason or '-', now
  local words = ending(r)
  tell(call, 'end ' .. call .. ' ' .. table.concat(words, ' ') .. '\n' .. outcome)
  return true
end

-- A worker has the call, whose queue, priority and piggybacked are in r: its message has come through.
local function arrived(call, r)
  local sent = unwait(call, r)
  if not sent then return end
  local lane = r.queue .. ' ' .. (r.priority or '0')
  if tonumber(sent) > number(redis.call('HGET', P .. ':newest_claimed_sent', lane)) then
    redis.call('HSET', P .. ':newest_claimed_sent', lane, sent)
    redis.call('PEXPIRE', P .. ':newest_claimed_sent', 4 * LEASE_MS)
  end
end

-- Whether the attempt, once begun, may be followed by another.
local MOVABLE = {'attempt', 'attempts_limit', 'count', 'rerun', 'deterministic'}
local function movable(r)
  return r.rerun == '1' and number(r.attempt) < number(r.attempts_limit)
    and (r.deterministic == '1' or number(r.count) == 0)
end

-- Its worker has the call no more: it is to be sent again, or fails where it had begun and may
-- not be run again.
local function lapse(call)
  local r = read(call, {
    'state', 'worker', 'control', 'queue', 'queue_wait', 'overall', 'piggybacked', unpack(MOVABLE)
  })
  local state = NEXT[r.state].lapse
  if state ~= r.state then
    if not movable(r) then
      settle(call, 'fail', 'WORKER_LOST', '')
      return
    end
    tell_worker(call, r, state)
    redis.call('HSET', key('call', call), 'state', state, 'attempt', r.attempt + 1,
      'queue_until', now_ms() + number(r.queue_wait))
    if r.overall then redis.call('HSET', key('call', call), 'deadline', r.overall) end
  end
  redis.call('HDEL', key('call', call), 'worker', 'lease_until', 'control', 'token', 'overall',
    'piggybacked', 'taken', 'taken_bytes', 'idle_until')
  unwait(call, r)
  redis.call('ZADD', waiting(r.queue), 0, call)
end

-- Ends the call, whose DUE is r, where that is due; says so. Whether its wait in the queue is
-- over is for those to say who know the workers: consumed is the queues that live ones consume,
-- by name, or true for all, or nil.
local function end_if_due(call, r, consumed)
  if not alive(r.state) then return false end
  local now, deadline, queue_until = now_ms(), number(r.deadline), number(r.queue_until)
  local idle_until = number(r.idle_until)
  if deadline > 0 and deadline <= now then
    return settle(call, 'expire', 'DEADLINE_EXCEEDED', '')
  elseif idle_until > 0 and idle_until <= now then
    return settle(call, 'expire', 'CALLER_IDLE', '')
  elseif consumed and r.state == 'QUEUED' and queue_until > 0 and queue_until <= now then
    local waited = consumed == true or consumed[r.queue]
    return settle(call, 'fail', waited and 'QUEUE_WAIT' or 'NO_WORKERS', '')
  elseif r.left and (r.detach ~= '1' or r.state == 'RECEIVING')
    and number(r.left) + number(r.linger) <= now then
    return settle(call, 'cancel', 'CANCELLED', '')
  end
  return false
end

-- Does to the call what is due. Whether leases lapse is for `sweep` to say: lapsing.
local function review(call, consumed, lapsing)
  local r = read(call, DUE)
  if not alive(r.state) then
    redis.call('ZREM', P .. ':due', call)
    return
  end
  local now = now_ms()
  if lapsing and not r.left and #watchers(call) > 0 and live_watchers(call) == 0 then
    redis.call('DEL', key('watch', call))
    redis.call('HSET', key('call', call), 'left', now)
    r.left = now
  end
  if end_if_due(call, r, consumed) then return end
  if lapsing and r.lease_until and number(r.lease_until) <= now then
    lapse(call)
    r = nil
  end
  schedule(call, r)
end

-- The last watcher has gone: the route's policy begins to apply, if it does not already.
local function left_alone(call, grace_ms)
  local since, now = redis.call('HGET', key('call', call), 'left'), now_ms()
  if not since or tonumber(since) > now + grace_ms then
    redis.call('HSET', key('call', call), 'left', now + grace_ms)
  end
  review(call)
end

-- Tells what the handler said; the last watcher that can't be reached may be back in a moment.
local function tell_watchers(call, frame)
  local reached, all = tell(call, frame)
  if all > 0 and reached == 0 then left_alone(call, LEASE_MS) end
end

-- Adds a message of so many bytes to the call's stream of a kind. A large one is not here, but
-- comes by an XADD that follows in the same transaction, where there is a stream to take it.
local function add(kind, call, ordinal, message, size)
  local stream = key(kind, call)
  if #message == size then
    redis.call('XADD', stream, (ordinal + 1) .. '-0', 'm', message)
  elseif redis.call('EXISTS', stream) == 0 then
    redis.call('XADD', stream, '0-1', 'm', '')
    redis.call('XDEL', stream, '0-1')
  end
end

-- Refuses a message: the XADD that may follow finds no stream, which what comes last in the
-- transaction puts back.
local function turn_away(kind, call, message, size)
  if #message < size and redis.call('EXISTS', key(kind, call)) == 1 then
    redis.call('RENAME', key(kind, call), key('parked', call))
  end
end

-- Stores one lasting item, once, and tells watchers of it; r: the record's count and sent.
-- Items above so many bytes are announced, not published.
local function store(call, r, ordinal, item, announce_above, size)
  local count = number(r.count)
  if ordinal ~= count then return end
  add('out', call, ordinal, item, size)
  local sent = number(r.sent) + size
  redis.call('HSET', key('call', call), 'count', count + 1, 'sent', sent)
  if size > math.min(#item, announce_above) then
    tell_watchers(call, 'more ' .. call .. ' ' .. (count + 1) .. ' ' .. sent .. '\n')
  else
    tell_watchers(call, 'item ' .. call .. ' ' .. ordinal .. '\n' .. item)
  end
end

-- Whether this attempt may go on: nil, or the word for why not.
local function refusal(r, attempt, event)
  if not r.state then return 'UNKNOWN' end
  if not NEXT[r.state][event] then return r.state end
  if r.attempt ~= attempt then return 'STALE' end
  return nil
end

-- Whether further requests may come.
local function receiving(r)
  return r.state == 'RECEIVING' or r.live == 'open'
end

-- Tells the process that runs the handler of a live call that requests came, or that they ended.
local function tell_of_requests(call, r, count)
  if r.control then
    redis.call('PUBLISH', r.control, 'requests ' .. call .. ' ' .. r.attempt .. ' ' .. count)
  end
end

local FLOW = {'state', 'attempt', 'read_count'}

-- How far the foremost watcher has read, and how many watch.
local function flow(call, r)
  return {'OK', r.read_count or '0', tostring(live_watchers(call))}
end

-- Ends the call where its deadline has passed; says so.
local function overdue(call, r)
  local deadline = number(r.deadline)
  return deadline > 0 and deadline <= now_ms() and settle(call, 'expire', 'DEADLINE_EXCEEDED', '')
end
