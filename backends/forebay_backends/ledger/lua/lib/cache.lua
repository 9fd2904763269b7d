-- Runs that identical calls share: a key for each cache key, whose value names the call that runs for
-- all of them, and has the gateway's proof of it: `CALL proof`. It has no expiry while the call is
-- active, and that of the cache's ttl after a success.

-- The call that the entry names, and the proof; nil if there is none.
local function cached_call(cache)
  local value = redis.call('GET', key('cache', cache))
  if not value then return nil end
  local call = value:match('^%S+')
  return call, value:sub(#call + 2)
end

-- Keeps the call's entry for the time of its ttl, or deletes it; r: its cache and cache_ttl_ms. Another
-- call may have replaced it.
local function end_cached(call, r, succeeded)
  if not r.cache or cached_call(r.cache) ~= call then return end
  if succeeded then
    redis.call('PEXPIRE', key('cache', r.cache), r.cache_ttl_ms)
  else
    redis.call('DEL', key('cache', r.cache))
  end
end
