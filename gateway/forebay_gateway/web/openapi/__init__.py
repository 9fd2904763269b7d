"""`/openapi.json`: an OpenAPI 3.1 document of what the web front serves, from descriptors.

- `comments.py`: the comments of `.proto` files, from descriptor sets with source info
- `schemas.py`: messages as JSON Schema, by protobuf's JSON mapping
- `well_known.py`: the schemas of `google.protobuf`'s messages
- `errors.py`: the schemas of errors
- `paths.py`: templates of `google.api.http` as paths of OpenAPI
- `operations.py`: methods as operations
- `document.py`: the document
- `endpoint.py`: serves each caller a document with the methods that the caller may call
- `descriptions.binpb`: the comments of Forebay's own `.proto` files, made by `make proto`
"""
