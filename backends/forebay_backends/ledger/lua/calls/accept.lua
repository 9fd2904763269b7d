-- Writes a call's record and, if the broker is this server, its task message.
-- ARGV: call, channel (of the gateway that watches the call; '': none does), lease_ms, state,
--   timeout_ms (0: none), queue_wait_ms, list ('': the message is sent another way), message,
--   queue, piggybacked ('1': another call's message names this call; 'held': the gateway holds its
--   message back), start (of a delayed call: when it is due, or '+' and in how many ms; else ''),
--   field, value, ... of the record
-- Replies: NEW | KNOWN method digest
local call, channel, lease_ms, state = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local timeout_ms, queue_wait_ms, list, message = tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8]
local queue, piggybacked, start, fields = ARGV[9], ARGV[10], ARGV[11], arguments_from(12)

return accept_call(call, channel, lease_ms, state, timeout_ms, queue_wait_ms, list, message, queue,
  piggybacked, start, fields)
