"""A ledger reads its scripts when it is made: later there may be no file descriptor for one."""

from __future__ import annotations

from importlib.resources import files

import pytest

from forebay_backends.ledger import scripts


@pytest.mark.parametrize("in_cluster", [False, True])
def test_all_scripts_are_read_at_start(in_cluster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts.load_all(in_cluster)
    lua = files("forebay_backends.ledger") / "lua"
    names = [
        f"{folder.name}/{file.name.removesuffix('.lua')}"
        for folder in lua.iterdir()
        if folder.is_dir() and folder.name != "lib"
        for file in folder.iterdir()
    ]

    def no_descriptors(_: str) -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(scripts, "files", no_descriptors)
    for name in names:
        assert len(scripts.digest(name, in_cluster)) == 40
        assert scripts.script(name, in_cluster)
