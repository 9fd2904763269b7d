-- The broker has the messages of these ends.
-- ARGV: entry, ...
-- Replies: OK
local entries = ARGV

for _, entry in ipairs(entries) do redis.call('ZREM', index('ends'), entry) end
return {'OK'}
