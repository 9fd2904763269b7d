"""REST: HTTP and JSON for methods with `google.api.http`.

- `path_template.py`: the templates of paths; `path_index.py` finds those that match a path
- `field_paths.py`: fields of a request by path; `field_values.py` sets them from texts
- `bindings.py`: the bindings of methods, and what is wrong with them
- `router.py`: the binding for an HTTP request
- `request_message.py`: the request of a method, from path, query and body
- `response_json.py`: the JSON of responses
- `status_json.py`: errors as JSON of `google.rpc.Status`, with HTTP's codes
- `responses.py`: unary responses and newline-delimited streams, by HTTP
- `protocol.py`: serves an HTTP request by the method's handler
"""
