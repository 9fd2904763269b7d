-- Joins the run of an identical call.
-- ARGV: cache (the cache key), ttl_ms, channel, lease_ms, linger_ms, detach
-- Replies: JOINED call proof | UNKNOWN
local cache, ttl_ms, channel, lease_ms, linger_ms, detach = unpack(ARGV)

local call, proof = join(cache, ttl_ms, channel, lease_ms, linger_ms, detach)
if not call then return {'UNKNOWN'} end
return {'JOINED', call, proof}
