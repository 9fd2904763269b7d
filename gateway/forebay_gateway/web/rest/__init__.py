"""REST: HTTP and JSON for methods with `google.api.http`.

- `path_template.py`: the templates of paths; `path_index.py` finds those that match a path
- `field_paths.py`: fields of a request by path; `field_values.py` sets them from texts
- `bindings.py`: the bindings of methods, and their problems
- `served_bindings.py`: the bindings of a gateway's methods
- `router.py`: the binding for an HTTP request
- `request_message.py`: the request of a method, from path, query and body
- `response_json.py`: the JSON of responses
- `status_json.py`: errors as JSON of `google.rpc.Status`, and as HTTP statuses
- `responses.py`: unary responses and newline-delimited streams, by HTTP
- `timeouts.py`: the caller's timeout
- `one_request.py`: methods with a stream of requests, called with a stream of one
- `no_request.py`: an RPC without a request
- `protocol.py`: serves an HTTP request by the method's handler
"""
