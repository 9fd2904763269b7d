-- The broker has the messages of these ends. Keeps those that a worker has restored meanwhile.
-- ARGV: when the lease ends on which they were taken, in ms; entry, ...
-- Replies: OK
local until_ms, entries = tonumber(ARGV[1]), arguments_from(2)

for _, entry in ipairs(entries) do
  if tonumber(redis.call('ZSCORE', index('ends'), entry) or '') == until_ms then
    redis.call('ZREM', index('ends'), entry)
  end
end
return {'OK'}
