-- Joins the run of an identical call; if there is none, writes a call's record as accept.lua does, for
-- further identical calls to join.
-- ARGV: cache (the cache key), ttl_ms, renews ('1': joins none, and replaces the entry), proof (of the
--   entry for this call), linger_ms, detach, then the arguments of accept.lua
-- Replies: JOINED call proof | NEW | KNOWN method digest
local cache, ttl_ms, renews, proof, linger_ms, detach = unpack(ARGV, 1, 6)
local call, channel, lease_ms, state = ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local timeout_ms, queue_wait_ms, list, message = tonumber(ARGV[11]), ARGV[12], ARGV[13], ARGV[14]
local queue, piggybacked, start, fields = ARGV[15], ARGV[16], ARGV[17], arguments_from(18)

-- A retry, after a lost reply, finds the entry of this call itself.
if renews ~= '1' and cached_call(cache) ~= call then
  local found, its_proof = join(cache, ttl_ms, channel, lease_ms, linger_ms, detach)
  if found then return {'JOINED', found, its_proof} end
end
local reply = accept_call(call, channel, lease_ms, state, timeout_ms, queue_wait_ms, list, message,
  queue, piggybacked, start, fields)
if reply[1] == 'NEW' then redis.call('SET', key('cache', cache), call .. ' ' .. proof) end
return reply
