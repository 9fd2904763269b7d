-- Drops the oldest finished call that holds items and that nobody is reading.
local now = now_ms()
for _, call in ipairs(redis.call('ZRANGE', P .. ':done', 0, 99)) do
  if redis.call('ZCOUNT', key('watch', call), '(' .. now, '+inf') == 0
    and redis.call('HEXISTS', P .. ':size', call) == 1 then
    return {tostring(drop(call))}
  end
end
return {'0'}
