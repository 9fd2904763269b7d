"""What doctor says of signing keys."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from forebay_backends.ledger.presence import WorkerPresence
from forebay_backends.settings import Settings, given_settings
from forebay_gateway.cli.signing_checks import signing_finding


def settings(folder: Path, *names: str, required: bool = True) -> Settings:
    if not names:
        return given_settings()
    path = folder / "keys.toml"
    lines = (f'{name} = "{b64encode(b"k" * 32).decode()}"\n' for name in names)
    path.write_text("".join(["[keys]\n", *lines]))
    return given_settings(signing_keys=str(path), signing_required=required)


def worker(*keys: str) -> WorkerPresence:
    return WorkerPresence("w", (), (), 1, "solo", "1", signing_keys=keys)


def test_without_keys_anywhere_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert signing_finding(settings(tmp_path), [worker()]) is None


@pytest.mark.parametrize(
    ("ours", "theirs"), [(("a",), ("a",)), (("b", "a"), ("a", "b")), (("b", "a"), ("b",))]
)
def test_keys_that_know_each_other_are_good(
    tmp_path: Path, ours: tuple[str, ...], theirs: tuple[str, ...]
) -> None:
    found = signing_finding(settings(tmp_path, *ours), [worker(*theirs)])
    assert found is not None
    assert found.good
    assert found.description.startswith(f"{ours[0]} signs")


@pytest.mark.parametrize(
    ("ours", "theirs", "problem"),
    [
        (("a",), (), "has no signing keys"),
        ((), ("a",), "no signing_keys are set here"),
        (("b", "a"), ("a",), "does not have b, which signs here"),
        (("a",), ("b", "a"), "signs with b, which is not among the signing keys here"),
    ],
)
def test_keys_that_differ_are_a_problem(
    tmp_path: Path, ours: tuple[str, ...], theirs: tuple[str, ...], problem: str
) -> None:
    found = signing_finding(settings(tmp_path, *ours), [worker("a", "b"), worker(*theirs)])
    assert found is not None
    assert not found.good
    assert problem in found.description
    assert "docs/hardening.md" in found.fix


def test_a_lenient_setting_is_shown(tmp_path: Path) -> None:
    found = signing_finding(settings(tmp_path, "a", required=False), [worker("a")])
    assert found is not None
    assert found.good
    assert "without a signature are accepted" in found.description


def test_a_file_that_can_not_be_read_is_a_problem(tmp_path: Path) -> None:
    lost = given_settings(signing_keys=str(tmp_path / "absent"))
    found = signing_finding(lost, [])
    assert found is not None
    assert not found.good
    assert "No such file" in found.description
