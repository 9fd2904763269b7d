"""`forebay new`: writes a new project from a template."""
