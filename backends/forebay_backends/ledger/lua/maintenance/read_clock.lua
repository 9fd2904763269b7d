-- The partition's clock.
-- ARGV: none
-- Replies: ms certain ('0': it is held, as the server's clock was stepped or nothing has swept, and
--   the process that reads does not know which)
return {tostring(now_ms()), certain_ms() and '1' or '0'}
