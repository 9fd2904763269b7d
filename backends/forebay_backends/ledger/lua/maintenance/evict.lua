-- Drops the oldest finished call that nobody watches.
-- ARGV: none
-- Replies: the bytes that it held; 0: there was none
for _, call in ipairs(redis.call('ZRANGE', index('done'), 0, 99)) do
  if count_live_watchers(read(call, {'watchers'})) == 0 then
    return {tostring(drop(call))}
  end
end
return {'0'}
