"""Who calls, by the SPIFFE ID of a client certificate."""

from __future__ import annotations

import time

import pytest
from cryptography import x509

from forebay_backends.settings.identity_settings import SpiffeSettings
from forebay_backends.settings.spiffe_patterns import Identified, SpiffePattern
from forebay_gateway.fronts.native.peers import spiffe_id_of
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.spiffe import principal_of_certificate, spiffe_rules
from tests.certificates import Authority

PATTERN = "spiffe://prod.example/ns/{tenant}/sa/{subject}"
RULES = spiffe_rules(
    [
        SpiffeSettings(pattern=PATTERN, roles=("caller",)),
        SpiffeSettings(pattern="spiffe://other.example/{subject}/{tenant}", roles=("operator",)),
    ]
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


Context = dict[str, list[bytes]]


def context_of(authority: Authority, spiffe_id: str, *uris: str) -> Context:
    """The properties of a connection with this SPIFFE ID, whose certificate has these URIs."""
    names = [x509.UniformResourceIdentifier(uri) for uri in uris or (spiffe_id,)]
    pem = authority.issue("client", *names).certificate.read_bytes()
    return {"peer_spiffe_id": [spiffe_id.encode()], "x509_pem_cert": [pem]}


@pytest.mark.parametrize(
    ("spiffe_id", "role"),
    [
        ("spiffe://prod.example/ns/acme/sa/shop", "caller"),
        ("spiffe://other.example/shop/acme", "operator"),
    ],
)
def test_the_pattern_that_fits_names_tenant_subject_and_roles(
    authority: Authority, spiffe_id: str, role: str
) -> None:
    principal = principal_of_certificate(context_of(authority, spiffe_id), RULES)
    assert principal is not None
    # A caller is known as long as its certificate is valid.
    assert principal.expires_at == pytest.approx(time.time() + 24 * 3600, abs=60)
    assert principal == Principal(
        "acme", "shop", (role,), "spiffe", expires_at=principal.expires_at
    )


SHOP = "spiffe://prod.example/ns/acme/sa/shop"


@pytest.mark.parametrize(
    "uris",
    [(f"{SHOP}\0.evil",), (SHOP, SHOP), (SHOP, "https://d/"), (f"{SHOP}s",), ("https://d/",)],
)
def test_the_id_must_be_the_only_uri_of_the_certificate(
    authority: Authority, uris: tuple[str, ...]
) -> None:
    """Python's gRPC says of the first of these that it is the shop's."""
    assert principal_of_certificate(context_of(authority, SHOP, *uris), RULES) is None


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"transport_security_type": [b"ssl"]},
        # Of gRPC's properties, only one has verified SPIFFE IDs.
        {"x509_subject_alternative_name": [b"spiffe://prod.example/ns/acme/sa/shop"]},
        {"x509_common_name": [b"spiffe://prod.example/ns/acme/sa/shop"]},
        {"peer_dns": [b"spiffe://prod.example/ns/acme/sa/shop"]},
        {"peer_uri": [b"spiffe://prod.example/ns/acme/sa/shop"]},
        {"peer_spiffe_id": []},
        {"peer_spiffe_id": [SHOP.encode()], "x509_pem_cert": []},
        {
            "peer_spiffe_id": [
                b"spiffe://prod.example/ns/a/sa/s",
                b"spiffe://prod.example/ns/b/sa/s",
            ]
        },
        {"peer_spiffe_id": [b"spiffe://prod.example/ns/\xff/sa/s"]},
    ],
)
def test_other_properties_name_nobody(authority: Authority, context: Context) -> None:
    shown = {"x509_pem_cert": context_of(authority, SHOP)["x509_pem_cert"], **context}
    assert principal_of_certificate(shown, RULES) is None


@pytest.mark.parametrize(
    "spiffe_id",
    [
        "spiffe://prod.example/ns/acme/sa/shop/",
        "spiffe://prod.example/ns/acme/sa",
        "spiffe://prod.example/ns/acme/sa/",
        "spiffe://prod.example//ns/acme/sa/shop",
        "spiffe://prod.example/ns//sa/shop",
        "spiffe://prod.example/ns/acme/sa/shop/more",
        "spiffe://prod.example/NS/acme/sa/shop",
        "spiffe://prod.example/ns/acme/sb/shop",
        "spiffe://prod.example:443/ns/acme/sa/shop",
        "spiffe://prod.example.evil.example/ns/acme/sa/shop",
        "spiffe://evil.example/prod.example/ns/acme/sa/shop",
        "spiffe://user@prod.example/ns/acme/sa/shop",
        "spiffe://prod.example/ns/acme/sa/shop?a=b",
        "spiffe://prod.example/ns/acme/sa/shop#a",
        "spiffe://prod.example/ns/ac%2fme/sa/shop",
        "spiffe://prod.example/ns/acme/sa/sh\0op",
        "spiffe://prod.example/ns/acme/sa/shop\n",
        "spiffe://prod.example/ns/../sa/shop",
        "spiffe://prod.example/ns/./sa/shop",
        f"spiffe://prod.example/ns/{'a' * 65}/sa/shop",
        "https://prod.example/ns/acme/sa/shop",
        "SPIFFE://prod.example/ns/acme/sa/shop",
        " spiffe://prod.example/ns/acme/sa/shop",
        "",
    ],
)
def test_ids_that_only_look_like_a_pattern_fit_none(authority: Authority, spiffe_id: str) -> None:
    assert principal_of_certificate(context_of(authority, spiffe_id), RULES) is None


def test_a_placeholder_stands_for_one_segment() -> None:
    pattern = SpiffePattern.read(PATTERN)
    longest = "a" * 64
    assert pattern.match(f"spiffe://prod.example/ns/{longest}/sa/A.b-c_1") == Identified(
        longest, "A.b-c_1"
    )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("https://prod.example/{tenant}/{subject}", "expected spiffe://"),
        ("spiffe:///{tenant}/{subject}", "trust domain"),
        ("spiffe://Prod.example/{tenant}/{subject}", "trust domain"),
        ("spiffe://{tenant}/{subject}", "trust domain"),
        ("spiffe://prod.example/{tenant}", "{subject} once"),
        ("spiffe://prod.example/{subject}", "{tenant} once"),
        ("spiffe://prod.example/{tenant}/{tenant}/{subject}", "{tenant} once"),
        ("spiffe://prod.example/ns-{tenant}/{subject}", "{tenant} once, as a whole segment"),
        ("spiffe://prod.example/{tenant}/{subject}/", "segment ''"),
        ("spiffe://prod.example/{tenant}/{subject}/*", "segment '*'"),
        ("spiffe://prod.example/../{tenant}/{subject}", "segment '..'"),
        ("spiffe://prod.example/{team}/{tenant}/{subject}", "segment '{team}'"),
    ],
)
def test_a_pattern_that_no_id_could_fit_is_refused(pattern: str, expected: str) -> None:
    with pytest.raises(ValueError, match=r"such as spiffe://prod\.example") as refused:
        SpiffePattern.read(pattern)
    assert expected in str(refused.value)


# The native front's part, by the rules of grpc-core; tests/contract/fronts compares the two.


@pytest.mark.parametrize(
    ("names", "spiffe_id"),
    [
        ([("URI", "spiffe://d/p")], "spiffe://d/p"),
        ([("DNS", "d"), ("URI", "spiffe://d/p"), ("IP Address", "1.1.1.1")], "spiffe://d/p"),
        ([("URI", f"spiffe://{'d' * 255}/p")], f"spiffe://{'d' * 255}/p"),
        ([("URI", f"spiffe://{'d' * 256}/p")], None),
        ([("URI", "spiffe://d/" + "p" * (2048 - 11))], "spiffe://d/" + "p" * (2048 - 11)),
        ([("URI", "spiffe://d/" + "p" * (2048 - 10))], None),
        ([("URI", "spiffe://d/p"), ("URI", "spiffe://d/q")], None),
        ([("URI", "spiffe://d/p"), ("URI", "https://d/p")], None),
        ([("DNS", "spiffe://d/p")], None),
        ([("URI", "spiffe://d")], None),
        ([("URI", "spiffe://d/")], None),
        ([("URI", "spiffe://d//p")], None),
        ([("URI", "https://d/p")], None),
        ([], None),
    ],
)
def test_one_uri_of_a_certificate_is_a_spiffe_id(
    names: list[tuple[str, str]], spiffe_id: str | None
) -> None:
    assert spiffe_id_of(names) == spiffe_id
