-- Drops the oldest finished call that nobody is reading.
for _, call in ipairs(redis.call('ZRANGE', P .. ':done', 0, 99)) do
  if live_watchers(call) == 0 then
    return {tostring(drop(call))}
  end
end
return {'0'}
