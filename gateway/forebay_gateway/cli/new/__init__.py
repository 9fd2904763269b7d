"""`forebay new`: writes a new project from the files in `template/`."""
