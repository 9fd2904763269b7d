"""`forebay keys new`, `list` and `revoke`, as a shell runs them."""

from __future__ import annotations

import asyncio
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from forebay.errors import Unauthenticated
from forebay_gateway.identity.keys.verifier import ApiKeyVerifier, KeysFile
from forebay_gateway.identity.principal import Principal
from tests.commands import Ran, run
from tests.harness import environment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with settings, but no file of keys yet."""
    (tmp_path / "forebay.toml").write_text(
        '[[auth.keys]]\nfile = "keys.toml"\n[roles]\ncaller = ["*"]\noperator = ["*"]\n'
    )
    return tmp_path


def keys(folder: Path, *arguments: str) -> Ran:
    return run("forebay", "keys", *arguments, env=environment(), cwd=folder)


async def verified(folder: Path, token: str) -> Principal:
    """The principal of a key of the folder; raises Unauthenticated."""
    return (await ApiKeyVerifier([KeysFile(folder / "keys.toml")]).verify(token)).principal


def test_a_key_is_made_listed_and_revoked(folder: Path) -> None:
    new = ["new", "--tenant", "acme", "--role", "caller", "--role", "operator"]
    made = keys(folder, *new, "--subject", "ci", "--expires", "90d").succeeded()
    token = made.out.removesuffix("\n")
    principal = asyncio.run(verified(folder, token))
    assert (principal.tenant, principal.subject) == ("acme", "ci")
    assert principal.roles == ("caller", "operator")
    assert token not in made.err
    assert f"key {principal.key_id} of tenant acme expires 20" in made.err
    assert stat.S_IMODE((folder / "keys.toml").stat().st_mode) == 0o600

    [listed] = keys(folder, "list", "--json").succeeded().messages
    assert listed["id"] == principal.key_id
    assert listed["roles"] == ["caller", "operator"]
    header, row = keys(folder, "list").succeeded().out.splitlines()
    assert header == "id\ttenant\tsubject\troles\tcreated\texpires"
    assert row.split("\t")[:4] == [principal.key_id, "acme", "ci", "caller operator"]
    secret = token.split("_", 2)[2]
    assert secret not in row + (folder / "keys.toml").read_text()

    revoked = keys(folder, "revoke", principal.key_id).succeeded()
    assert revoked.out == f"revoked key {principal.key_id} of tenant acme\n"
    with pytest.raises(Unauthenticated):
        asyncio.run(verified(folder, token))
    again = keys(folder, "revoke", principal.key_id)
    assert again.code == 1
    assert f"has no key {principal.key_id}" in again.err


def test_commands_at_the_same_time_lose_no_key(folder: Path) -> None:
    def new(_: int) -> str:
        return keys(folder, "new", "--tenant", "acme", "--role", "caller").succeeded().out.strip()

    with ThreadPoolExecutor(4) as pool:
        tokens = list(pool.map(new, range(4)))
    assert len({asyncio.run(verified(folder, token)) for token in tokens}) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--role", "cook"], "no role cook; [roles] has caller, operator"),
        (["--role", "caller", "--expires", "1y"], "such as 12h or 90d"),
        (["--role", "x", "--file", "absent/keys.toml"], "absent/keys.toml: No such file or"),
    ],
)
def test_a_bad_key_is_refused_and_nothing_is_written(
    folder: Path, arguments: list[str], said: str
) -> None:
    done = keys(folder, "new", "--tenant", "acme", *arguments)
    assert done.code != 0
    assert done.out == ""
    assert said in done.err
    assert not (folder / "keys.toml").exists()


@pytest.mark.parametrize("files", [[], ["a.toml", "b.toml"]])
def test_a_file_must_be_named_unless_the_settings_have_one(folder: Path, files: list[str]) -> None:
    entries = "".join(f'[[auth.keys]]\nfile = "{name}"\n' for name in files)
    (folder / "forebay.toml").write_text(entries)
    done = keys(folder, "list")
    assert done.code == 2
    assert f"the settings have {len(files)} files of keys" in done.err
    assert "--file" in done.err
    assert keys(folder, "list", "--file", "a.toml").succeeded().out.count("\n") == 1


def test_a_file_that_is_not_understood_is_left_alone(folder: Path) -> None:
    (folder / "keys.toml").write_text("[keys.a]\n")
    for command in (["list"], ["revoke", "a"], ["new", "--tenant", "t", "--role", "caller"]):
        done = keys(folder, *command)
        assert done.code == 1
        assert "keys.toml: keys.a.sha256: " in done.err
    assert (folder / "keys.toml").read_text() == "[keys.a]\n"
