-- Puts a delayed call that is due into its queue.
-- ARGV: call, list ('': the message is sent another way), message, held ('1': the gateway holds the
--   message back)
-- Replies: OK | UNKNOWN | state (DELAYED: it is not due yet)
local call, list, message, held = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'

local r = read(call, {'state', 'attempt', 'queue', 'queue_wait_ms', 'start_at'})
local why = refusal(r, r.attempt, 'start')
if why then return refuse(call, why) end
local now = now_ms()
if number(r.start_at) > now then return refuse(call, r.state) end
end_delay(call)
-- A message that is yet to be sent counts as lost until `mark_resent`: its gateway may die.
enter_queue(call, r, 'start', (held or list ~= '') and now or 0)
if held then hold(call, r.queue) end
schedule(call)
if list ~= '' then push(list, message) end
return {'OK'}
