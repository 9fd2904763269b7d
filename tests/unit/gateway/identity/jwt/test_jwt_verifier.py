"""JWTs: which are accepted, as whom, and what a refusal says."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forebay_backends.settings import SettingsError, given_settings
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.verifiers import Verifiers, make_verifiers
from tests.identity_provider import (
    ALGORITHMS,
    AUDIENCE,
    BAD_TOKENS,
    ISSUER,
    LEEWAY_S,
    IdentityProvider,
    segment,
)
from tests.unit.gateway.identity.verifying import refusal_of

OTHER = "https://other.example"
_SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
_NAMES = st.sampled_from(["alg", "kid", "iss", "aud", "exp", "crit", "b64", "typ"])
_VALUES = _SCALARS | st.sampled_from(["RS256", "none", "RS256-0", ISSUER]) | st.lists(_SCALARS)
JSON = _SCALARS | st.dictionaries(_NAMES, _VALUES)


def verifiers_of(folder: Path, provider: IdentityProvider, **changed: object) -> Verifiers:
    (folder / "jwks.json").write_bytes(provider.jwks())
    entry = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "algorithms": ["RS256", "PS256", "ES256"],
        "jwks_file": folder / "jwks.json",
        "leeway_s": LEEWAY_S,
    }
    return make_verifiers(given_settings(auth={"jwt": [{**entry, **changed}]}).auth)


@pytest.fixture
def provider() -> IdentityProvider:
    return IdentityProvider("RS256-0", "ES256-1")


@pytest.fixture
def verifiers(tmp_path: Path, provider: IdentityProvider) -> Verifiers:
    return verifiers_of(tmp_path, provider)


async def test_a_good_token_names_its_principal(
    verifiers: Verifiers, provider: IdentityProvider
) -> None:
    expiry = int(time.time()) + 600
    token = provider.token(exp=expiry)
    assert verifiers.takes(token)
    assert verifiers.remembered(token) is None
    principal = await verifiers.verify(token)
    assert replace(principal, key=None) == Principal(
        "acme", "ann", ("caller", "operator"), ISSUER, "RS256-0", expiry + LEEWAY_S
    )
    assert verifiers.remembered(token) is principal


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_algorithm_of_the_settings_can_be_used(tmp_path: Path, algorithm: str) -> None:
    key_id = f"{algorithm}-0"
    provider = IdentityProvider(key_id)
    verifiers = verifiers_of(tmp_path, provider, algorithms=ALGORITHMS)
    assert (await verifiers.verify(provider.token(key_id))).key_id == key_id


@pytest.mark.parametrize("bad", BAD_TOKENS)
async def test_a_bad_token_is_refused_without_being_shown(
    verifiers: Verifiers, provider: IdentityProvider, bad: str
) -> None:
    make, expected = BAD_TOKENS[bad]
    token = make(provider)
    message = await refusal_of(verifiers, token)
    assert re.search(expected, message)
    assert not [part for part in token.split(".") if len(part) > 3 and part in message]
    assert len(message) < 200


@pytest.mark.parametrize("claims", [{"exp": -1}, {"nbf": 1}, {"iat": 1}])
async def test_clocks_may_differ_by_the_leeway_both_ways(
    verifiers: Verifiers, provider: IdentityProvider, claims: dict[str, int]
) -> None:
    within = {name: int(time.time() + sign * LEEWAY_S / 2) for name, sign in claims.items()}
    principal = await verifiers.verify(provider.token(**within))
    assert principal.subject == "ann"


async def test_a_token_with_several_audiences_needs_one_of_ours(
    verifiers: Verifiers, provider: IdentityProvider
) -> None:
    assert await verifiers.verify(provider.token(aud=["other", AUDIENCE]))


async def test_a_token_of_8_kib_is_verified(
    verifiers: Verifiers, provider: IdentityProvider
) -> None:
    room = (8192 - len(provider.token(padding=""))) * 3 // 4
    token = provider.token(padding="x" * room)
    assert 8188 < len(token) <= 8192
    assert await verifiers.verify(token)


async def test_text_that_is_not_ascii_is_no_token(verifiers: Verifiers) -> None:
    assert "ASCII" in await refusal_of(verifiers, "é.é.é")
    assert "ASCII" in await refusal_of(verifiers, "\udcff.a.b")


async def test_claims_are_found_by_their_paths(tmp_path: Path, provider: IdentityProvider) -> None:
    verifiers = verifiers_of(
        tmp_path,
        provider,
        tenant="https://example.com/tenant",
        subject="act.user.name",
        roles="realm_access.roles",
    )
    token = provider.token(
        **{"https://example.com/tenant": "shop"},
        act={"user": {"name": "bob"}},
        realm_access={"roles": ["a", "b", "a"]},
    )
    principal = await verifiers.verify(token)
    assert (principal.tenant, principal.subject, principal.roles) == ("shop", "bob", ("a", "b"))


async def test_a_dot_may_be_a_part_of_a_name(tmp_path: Path, provider: IdentityProvider) -> None:
    verifiers = verifiers_of(tmp_path, provider, tenant="kubernetes.io.namespace", roles="sub")
    token = provider.token(
        **{"kubernetes.io": {"namespace": "shop"}, "kubernetes": {"io": 7}},
        sub="system:serviceaccount:shop:web",
    )
    principal = await verifiers.verify(token)
    assert (principal.tenant, principal.roles) == ("shop", ("system:serviceaccount:shop:web",))


@pytest.mark.parametrize("act", [None, "text", {"user": "bob"}, {"user": {"name": 7}}, [1]])
async def test_a_path_that_leads_nowhere_is_refused_by_its_name(
    tmp_path: Path, provider: IdentityProvider, act: object
) -> None:
    verifiers = verifiers_of(tmp_path, provider, subject="act.user.name")
    assert "`act.user.name`" in await refusal_of(verifiers, provider.token(act=act))


@pytest.mark.parametrize("subject", ["", "a\nb", "a" * 257, "\x1b[31m"])
async def test_a_subject_is_short_and_printable(
    verifiers: Verifiers, provider: IdentityProvider, subject: str
) -> None:
    assert "`sub`" in await refusal_of(verifiers, provider.token(sub=subject))


async def test_subjects_and_roles_have_a_limit(
    verifiers: Verifiers, provider: IdentityProvider
) -> None:
    roles = [str(number) for number in range(257)]
    principal = await verifiers.verify(provider.token(sub="a" * 256, scope=roles[:256]))
    assert (len(principal.subject), len(principal.roles)) == (256, 256)
    assert "`scope`" in await refusal_of(verifiers, provider.token(scope=roles))
    assert "`scope`" in await refusal_of(verifiers, provider.token(scope=" ".join(roles)))


@pytest.mark.parametrize(
    ("claim", "roles"),
    [
        (None, ()),
        ("", ()),
        ("a", ("a",)),
        (" a  b ", ("a", "b")),
        ([], ()),
        (["a b"], ("a b",)),
    ],
)
async def test_roles_are_a_list_or_words(
    verifiers: Verifiers, provider: IdentityProvider, claim: object, roles: tuple[str, ...]
) -> None:
    assert (await verifiers.verify(provider.token(scope=claim))).roles == roles


async def test_a_token_without_key_id_is_verified_by_an_only_key(tmp_path: Path) -> None:
    provider = IdentityProvider("RS256-0")
    verifiers = verifiers_of(tmp_path, provider)
    nameless = provider.token(headers={"kid": None})
    assert (await verifiers.verify(nameless)).key_id == "RS256-0"
    several = verifiers_of(tmp_path, IdentityProvider("RS256-0", "ES256-1"))
    assert "names no key" in await refusal_of(several, nameless)


async def test_each_issuer_has_its_own_keys_and_audience(
    tmp_path: Path, provider: IdentityProvider
) -> None:
    entries = []
    for name, issuer in (("a", ISSUER), ("b", OTHER)):
        file = tmp_path / f"{name}.json"
        file.write_bytes(IdentityProvider("RS256-0" if name == "a" else "RS256-5").jwks())
        entries.append(
            {"issuer": issuer, "audiences": [name], "algorithms": ["RS256"], "jwks_file": file}
        )
    verifiers = make_verifiers(given_settings(auth={"jwt": entries}).auth)
    ours, others = provider.token(aud="a"), provider.token("RS256-5", iss=OTHER, aud="b")
    assert [(await verifiers.verify(token)).issuer for token in (ours, others)] == [ISSUER, OTHER]
    assert verifiers.remembered(ours) is not None
    assert verifiers.remembered(others) is not None
    assert "key is not" in await refusal_of(
        verifiers, provider.token("RS256-0", iss=OTHER, aud="b")
    )
    assert "audience" in await refusal_of(verifiers, provider.token(aud="b"))


async def test_a_forged_token_is_refused_again_without_verifying_it(
    verifiers: Verifiers, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = provider.token("RS256-7", {"kid": "RS256-0"})
    first = await refusal_of(verifiers, forged)
    monkeypatch.setattr("jwt.decode", None)
    assert await refusal_of(verifiers, forged) == first


def test_all_files_that_cannot_be_used_are_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "bad.toml").write_text("keys = 1")
    entry = {"audiences": ["a"], "algorithms": ["RS256"]}
    jwt = [
        {**entry, "issuer": "one", "jwks_file": tmp_path / "bad.json"},
        {**entry, "issuer": "two", "jwks_file": tmp_path / "absent.json"},
    ]
    keys = [{"file": tmp_path / name} for name in ("bad.toml", "absent.toml")]
    with pytest.raises(SettingsError) as caught:
        make_verifiers(given_settings(auth={"jwt": jwt, "keys": keys}).auth)
    one, two, three, four = str(caught.value).splitlines()
    assert one.startswith(f"jwks_file of one: {tmp_path}/bad.json: expected a JWKS")
    assert two.startswith("jwks_file of two: ")
    assert three.startswith(f"{tmp_path}/bad.toml: keys: ")
    assert four == f"{tmp_path}/absent.toml: no such file; `forebay keys new` makes it"


async def test_tokens_of_a_kind_without_settings_are_refused(
    tmp_path: Path, provider: IdentityProvider
) -> None:
    (tmp_path / "keys.toml").write_text("")
    of_keys = make_verifiers(given_settings(auth={"keys": [{"file": tmp_path / "keys.toml"}]}).auth)
    assert not of_keys.takes(provider.token())
    assert of_keys.takes("fbk_id_secret")
    assert "kind" in await refusal_of(of_keys, provider.token())
    of_jwt = verifiers_of(tmp_path, provider)
    assert "kind" in await refusal_of(of_jwt, "fbk_id_secret")
    nothing = make_verifiers(given_settings().auth)
    assert "kind" in await refusal_of(nothing, provider.token())
    assert nothing.is_ready


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
async def test_no_change_of_a_letter_makes_another_good_token(
    verifiers: Verifiers, provider: IdentityProvider, data: st.DataObject
) -> None:
    token = provider.token()
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.characters(max_codepoint=127).filter(lambda c: c != token[place]))
    assert await refusal_of(verifiers, token[:place] + letter + token[place + 1 :])


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(header=JSON, claims=JSON)
async def test_any_header_and_claims_are_refused_and_nothing_fails(
    verifiers: Verifiers, header: object, claims: object
) -> None:
    assert await refusal_of(verifiers, f"{segment(header)}.{segment(claims)}.AAAA")
