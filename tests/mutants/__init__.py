"""`make mutants`: changes a line of a pure module or a Lua script, and expects a test to fail.

Example: `<=` becomes `<` in `admission/queue_limits.py`, and only the tests of that module run,
in a copy of the tree. If they pass, the mutant has survived: either a test is missing, or the
change makes no difference. Changes of the second kind are listed in `equivalent.toml`.

Turned down: mutmut 3, which names the module of a file after its path and so finds no tests
for packages in `gateway/` or `clients/python/`; cosmic-ray, which starts a process for each
mutant, and spends more time on imports than on tests; neither changes Lua.
"""
