"""Server-sent events: the responses of a method for a browser's `EventSource`, resumable.

- `event.py`: the bytes of an event (https://html.spec.whatwg.org/multipage/server-sent-events.html)
- `position.py`: a caller's position in a call: the ids of events, and `Last-Event-ID`
- `subscription.py`: the call that a request starts or attaches to, and its first item
- `responses.py`: items, status and heartbeats as events
- `protocol.py`: `GET /package.Service/Method?message=JSON&call_id=ID`
"""
