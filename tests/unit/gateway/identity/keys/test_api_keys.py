"""API keys: which are accepted, as whom, and how their files are read."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay_gateway.identity.keys.api_key import ApiKey, new_key, read_token
from forebay_gateway.identity.keys.keys_file import HEAD, read_keys, written_keys
from forebay_gateway.identity.keys.verifier import ApiKeyVerifier, KeysFile
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.verifiers import Verifiers
from tests.unit.gateway.identity.verifying import refusal_of, replace

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


class Site:
    """A verifier whose file of keys the test changes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.write_text("")
        self.keys = KeysFile(file)
        self.verifier = Verifiers(None, ApiKeyVerifier([self.keys]))

    @property
    def text(self) -> str:
        return self._file.read_text()

    def add(self, expires: datetime | None = None, subject: str | None = None) -> tuple[str, str]:
        """A new key's id, and its token."""
        key, token = new_key("acme", ("caller",), subject, expires)
        keys = read_keys(self.text)
        self.write(written_keys([*keys.values(), key]))
        return key.key_id, token

    def write(self, text: str) -> None:
        replace(self._file, text.encode(), self.keys.files)

    async def refusal(self, token: str) -> str:
        return await refusal_of(self.verifier, token)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "keys.toml")


async def test_a_key_names_its_principal(site: Site) -> None:
    key_id, token = site.add(subject="ci")
    assert token.startswith(f"fbk_{key_id}_")
    expected = Principal("acme", "ci", ("caller",), "keys", key_id, None)
    assert await site.verifier.verify(token) == expected
    assert site.verifier.remembered(token) == expected


async def test_a_key_expires(site: Site) -> None:
    key_id, old = site.add(expires=NOW - DAY)
    _, young = site.add(expires=NOW + DAY)
    assert await site.refusal(old) == f"the API key {key_id} has expired"
    principal = await site.verifier.verify(young)
    assert principal.expires_at == (NOW + DAY).timestamp()


def test_a_key_has_expired_from_its_time_on() -> None:
    key, _ = new_key("acme", ("caller",), None, NOW)
    assert not key.is_expired(NOW.timestamp() - 0.001)
    assert key.is_expired(NOW.timestamp())


async def test_a_key_of_ones_own_may_have_256_letters(site: Site) -> None:
    secret = "x" * (256 - len("fbk_a_"))
    for text in (secret, f"{secret}x"):
        digest = hashlib.sha256(text.encode()).hexdigest()
        site.write(f'[keys.a]\nsha256 = "{digest}"\ntenant = "acme"\n')
        if text == secret:
            assert await site.verifier.verify(f"fbk_a_{text}")
        else:
            await site.refusal(f"fbk_a_{text}")


async def test_what_is_no_key_of_the_file_is_refused_without_being_shown(site: Site) -> None:
    key_id, token = site.add()
    other_id, other = site.add()
    secret = token.split("_", 2)[2]
    wrong = (
        f"fbk_{key_id}_{other.split('_', 2)[2]}",
        f"fbk_{other_id}_{secret}",
        f"fbk_absent_{secret}",
        f"fbk__{secret}",
        f"fbk_{key_id}_",
        f"fbk_{key_id}",
        "fbk_",
        token[:-1],
        f"{token} ",
        f"{token}\n",
        f"fbk_{token[4:].upper()}",
        f"fbk_{key_id}_{'x' * 10_000}",
        f"fbk_{key_id}_é",
        f"fbk_{key_id}_\udcff",
    )
    for bad in wrong:
        message = await site.refusal(bad)
        assert message == "the API key is not one that is accepted here"
    assert "kind" in await site.refusal(token.upper())


async def test_secrets_are_256_random_bits_and_the_file_has_only_their_hash(site: Site) -> None:
    tokens = [site.add()[1] for _ in range(3)]
    text = site.text
    for token in tokens:
        secret = token.split("_", 2)[2]
        assert (len(token), len(secret)) == (len("fbk_") + 12 + 1 + 43, 43)
        assert secret not in text


async def test_new_and_revoked_keys_are_taken_in_and_logged_by_their_ids(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    key_id, token = site.add()
    assert await site.verifier.verify(token)
    assert site.verifier.remembered(token)
    site.write("")
    await site.refusal(token)
    changes = [line for line in caplog.messages if "API keys: " in line]
    assert [line.split("keys.toml ")[1] for line in changes] == [
        f"has new API keys: {key_id}",
        f"no longer has API keys: {key_id}",
    ]
    assert token.split("_", 2)[2] not in caplog.text


@pytest.mark.parametrize("bad", ["[keys", "keys = 1", "[keys.a]", "[other]"])
async def test_a_bad_file_leaves_the_last_good_one_in_force(site: Site, bad: str) -> None:
    _, token = site.add()
    site.write(bad)
    assert await site.verifier.verify(token)
    [problem] = site.verifier.problems
    assert "keys.toml: " in problem
    site.write("")
    assert site.verifier.problems == []
    await site.refusal(token)


async def test_keys_of_several_files_are_accepted(tmp_path: Path) -> None:
    one, two = Site(tmp_path / "one.toml"), Site(tmp_path / "two.toml")
    tokens = [one.add()[1], two.add()[1]]
    both = Verifiers(None, ApiKeyVerifier([one.keys, two.keys]))
    assert all([await both.verify(token) for token in tokens])
    two.write("[keys")
    assert all(both.remembered(token) for token in tokens)
    assert len(both.problems) == 1


SHA = "a" * 64
GOOD = f'sha256 = "{SHA}"\ntenant = "acme"\n'


def test_only_hash_and_tenant_are_required() -> None:
    [key] = read_keys(f"[keys.a-1]\n{GOOD}").values()
    assert key == ApiKey("a-1", bytes.fromhex(SHA), "acme", "a-1", ())


def test_all_problems_of_a_file_are_named_at_once() -> None:
    with pytest.raises(ValueError, match="sha256") as caught:
        read_keys(
            f"""
            other = 1
            [keys.one]
            sha256 = "{"A" * 64}"
            tenant = "a b"
            role = "x"
            [keys.two]
            sha256 = "{SHA}"
            tenant = "acme"
            roles = "caller"
            expires = 2026-01-01
            [keys.three]
            sha256 = "{SHA}"
            tenant = "acme"
            subject = ""
            roles = ["a", "b\\n"]
            created = 2026-01-01T00:00:00
            [keys."a b"]
            {GOOD}
            """
        )
    places = [line.split(": ")[0] for line in str(caught.value).splitlines()]
    assert places == [
        "keys.one.sha256",
        "keys.one.tenant",
        "keys.one.role",
        "keys.two.roles",
        "keys.two.expires",
        "keys.three.subject",
        "keys.three.roles.1",
        "keys.three.created",
        "keys.a b.[key]",
        "other",
    ]


def test_names_have_a_limit() -> None:
    long = f"[keys.a]\n{GOOD}subject = '{'x' * 256}'\nroles = ['{'y' * 256}']\n"
    [key] = read_keys(long).values()
    assert (len(key.subject), len(key.roles[0])) == (256, 256)
    for letter in "xy":
        with pytest.raises(ValueError, match="1 to 256 printable characters"):
            read_keys(long.replace(letter * 256, letter * 257))


@pytest.mark.parametrize("time", ["1767225600", '"2026-01-01T00:00:00Z"'])
def test_a_time_is_one_of_toml(time: str) -> None:
    with pytest.raises(ValueError, match=r"keys\.a\.expires: "):
        read_keys(f"[keys.a]\n{GOOD}expires = {time}\n")


def test_text_that_is_no_toml_is_refused() -> None:
    with pytest.raises(ValueError, match="end of document"):
        read_keys("[keys")


PRINTABLE = st.characters().filter(str.isprintable)
NAMES = st.text(PRINTABLE, min_size=1, max_size=256)
TIMES = st.none() | st.datetimes(
    datetime(1970, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC)
)
KEYS = st.builds(
    ApiKey,
    st.from_regex(r"[A-Za-z0-9-]{1,64}", fullmatch=True),
    st.binary(min_size=32, max_size=32),
    st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
    NAMES,
    st.lists(NAMES, max_size=3).map(tuple),
    TIMES,
    TIMES,
)


@settings(max_examples=30)
@given(st.lists(KEYS, max_size=4, unique_by=lambda key: key.key_id))
def test_a_written_file_is_read_as_it_was(keys: list[ApiKey]) -> None:
    text = written_keys(keys)
    assert text.startswith(HEAD)
    assert read_keys(text) == {key.key_id: key for key in keys}


@given(st.text())
def test_any_text_is_read_as_a_token_or_not(text: str) -> None:
    found = read_token(f"fbk_{text}")
    assert found is None or len(found[1]) == 32


async def test_a_key_that_was_used_is_read_again_when_its_file_changes(site: Site) -> None:
    _, token = site.add()
    assert (await site.verifier.verify(token)).roles == ("caller",)
    site.write(site.text.replace('roles = ["caller"]', "roles = []"))
    assert site.verifier.remembered(token) is None
    assert (await site.verifier.verify(token)).roles == ()


async def test_a_callers_key_is_in_force_until_it_is_revoked_or_changed(site: Site) -> None:
    _, token = site.add(subject="ann")
    ann = await site.verifier.verify(token)
    assert site.verifier.is_in_force(ann)
    kept = site.text
    site.write(kept.replace('roles = ["caller"]', "roles = []"))
    assert not site.verifier.is_in_force(ann)
    site.write(kept)
    assert site.verifier.is_in_force(ann)
    site.write("")
    assert not site.verifier.is_in_force(ann)
