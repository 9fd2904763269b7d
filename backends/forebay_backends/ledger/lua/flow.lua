-- ARGV: call, attempt. Where flow control stands, for a handler that waits.
local call = ARGV[1]
review(call)
local r = read(call, FLOW)
return refusal(r, ARGV[2], 'emit') and {refusal(r, ARGV[2], 'emit')} or flow(call, r)
