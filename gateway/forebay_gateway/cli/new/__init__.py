"""`forebay new`: a project to start from."""
