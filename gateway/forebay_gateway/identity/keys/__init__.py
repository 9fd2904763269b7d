"""API keys: `fbk_ID_SECRET`.

- `verifier.py`: verifies a key.
- `api_key.py`: a key, as text and as the file has it.
- `keys_file.py`: the TOML file, read and written as text.
- `editing.py`: changes the file, for `forebay keys`.
"""
