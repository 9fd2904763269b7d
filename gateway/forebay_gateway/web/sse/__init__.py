"""Server-sent events: the responses of a method for a browser's `EventSource`, resumable.

- `event.py`: the bytes of an event (https://html.spec.whatwg.org/multipage/server-sent-events.html)
- `position.py`: where in a call a caller is: the ids of events, and `Last-Event-ID`
- `subscription.py`: which call a request starts or attaches to, and from which item on
- `responses.py`: items, status and heartbeats as events
- `protocol.py`: `GET /package.Service/Method?message=JSON&call_id=ID`
"""
