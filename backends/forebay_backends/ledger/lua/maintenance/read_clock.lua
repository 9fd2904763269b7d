-- The partition's clock.
-- ARGV: none
-- Replies: ms certain ('0': it is held, since the server's clock was stepped or nothing has swept)
return {tostring(now_ms()), is_certain() and '1' or '0'}
