"""`/openapi.json`: an OpenAPI 3.1 document of what the web front serves, from descriptors.

- `comments.py`: the comments of `.proto` files, from descriptor sets with source info
- `schemas.py`: messages as JSON Schema, by protobuf's JSON mapping
- `well_known.py`: the schemas of `google.protobuf`'s messages
- `paths.py`: templates of `google.api.http` as paths of OpenAPI
- `operations.py`: methods as operations
- `document.py`: the document
- `endpoint.py`: serves it, to each caller with the methods that it may call
- `descriptions.binpb`: the comments of Forebay's own `.proto` files, made by `make proto`
"""
