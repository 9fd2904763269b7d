-- How many calls are delayed.
-- ARGV: owner ('': none)
-- Replies: all, those of the owner
local owner = ARGV[1]
return {
  tostring(redis.call('ZCARD', index('delayed'))),
  owner ~= '' and redis.call('HGET', index('delayed_of'), owner) or '0',
}
