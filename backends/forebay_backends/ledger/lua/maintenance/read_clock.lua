-- The partition's clock.
-- ARGV: none
-- Replies: ms
return {tostring(now_ms())}
