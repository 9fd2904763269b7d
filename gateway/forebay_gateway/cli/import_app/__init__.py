"""`forebay import`: a `.proto` with a route for each task of an existing Celery application.

`application.py` loads the application and lists its tasks; the rest is pure. `signatures.py` and
`annotations.py` read the parameters of a task. `mapping.py` turns their types into those of
`proto.py`, with `scalars.py`, `enums.py` and `classes.py`; `routes.py` makes a method of each task.
`names.py` and `descriptions.py` have names and comments, and `render.py` writes the file.
"""
