"""The settings of identity: TLS of the gateway's port, authentication, roles, tenants, audit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from forebay_backends.settings.addresses import is_loopback
from forebay_backends.settings.problems import SettingsError
from forebay_backends.settings.spiffe_patterns import SpiffePattern
from forebay_backends.settings.tenant_settings import TenantName, TenantSettings
from forebay_backends.settings.values import Seconds, WholePath
from forebay_backends.signing.keyring import NO_KEYS, Keyring, OnRefused
from forebay_backends.urls import unverified_option

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "ES256K", "EdDSA"),
)
"""The algorithms that a JWT may be signed by: all are asymmetric."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsSettings(_Table):
    """`[tls]`: what the gateway shows to callers, and whether they show a certificate.

    The gateway checks the files when it starts: workers with the same settings need not read them.
    """

    certificate: WholePath = Field(description="PEM file of the certificate, with its chain")
    key: WholePath = Field(description="PEM file of the certificate's key")
    client_ca: WholePath | None = Field(
        None, description="PEM file of the CAs that sign callers' certificates"
    )
    client_auth: Literal["none", "require"] = Field(
        "none", description="whether callers must show a certificate"
    )
    refresh_s: Seconds = Field(
        10.0, gt=0, description="how often the files are checked for new certificates"
    )

    @model_validator(mode="after")
    def _client_ca_with_require(self) -> Self:
        if (self.client_auth == "require") != (self.client_ca is not None):
            raise ValueError(
                'expected client_ca with client_auth = "require", and neither of them without the '
                "other"
            )
        return self


class JwtSettings(_Table):
    """`[[auth.jwt]]`: tokens of one issuer; a token's `iss` picks the entry."""

    issuer: str = Field(min_length=1, description="the `iss` of the tokens")
    audiences: tuple[str, ...] = Field(min_length=1, description="one must be in the token's `aud`")
    algorithms: tuple[str, ...] = Field(min_length=1, description="such as RS256, ES256, EdDSA")
    jwks_url: str | None = Field(None, description="https URL of the issuer's public keys")
    jwks_file: WholePath | None = Field(
        None, validate_default=True, description="file of the issuer's public keys"
    )
    leeway_s: Seconds = Field(30.0, ge=0, description="how far clocks may differ")
    tenant: str = Field("tenant", description="the claim of the tenant; a dot reaches into objects")
    subject: str = Field("sub", description="the claim of the subject")
    roles: str = Field("scope", description="the claim of the roles: a list, or words in a text")

    @field_validator("audiences")
    @classmethod
    def _audiences(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value):
            raise ValueError("expected names that are not empty")
        return value

    @field_validator("algorithms")
    @classmethod
    def _algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unfit = ", ".join(repr(name) for name in value if name not in ALGORITHMS)
        if unfit:
            raise ValueError(
                f"{unfit}: expected some of {', '.join(ALGORITHMS)}; a JWKS has public keys, so "
                "that neither `none` nor the symmetric HS256, HS384 and HS512 can be used"
            )
        return value

    @field_validator("jwks_url")
    @classmethod
    def _jwks_url(cls, value: str | None) -> str | None:
        if value is not None and not _is_safe_url(value):
            raise ValueError(
                "expected a URL such as https://login.example/jwks.json, without a password; "
                "http:// is for loopback only"
            )
        return value

    @field_validator("jwks_file")
    @classmethod
    def _one_source(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if "jwks_url" in info.data and (value is None) == (info.data["jwks_url"] is None):
            raise ValueError("expected either jwks_url or jwks_file")
        return value

    @field_validator("tenant", "subject", "roles")
    @classmethod
    def _claim_path(cls, value: str) -> str:
        if not all(value.split(".")) or not value.isprintable():
            raise ValueError(
                "expected the name of a claim, such as sub, or names with dots between them"
            )
        return value


class SpiffeSettings(_Table):
    """`[[auth.spiffe]]`: callers with a SPIFFE ID in their certificate."""

    pattern: str = Field(description="such as spiffe://prod.example/ns/{tenant}/sa/{subject}")
    roles: tuple[str, ...] = Field(description="the roles of such callers")

    @field_validator("pattern")
    @classmethod
    def _pattern(cls, value: str) -> str:
        SpiffePattern.read(value)
        return value


class KeysSettings(_Table):
    """`[[auth.keys]]`: API keys."""

    file: WholePath = Field(description="TOML file, written by `forebay keys`")


class AuthSettings(_Table):
    """`[auth]`: who may call; empty: everyone, without a name."""

    jwt: tuple[JwtSettings, ...] = ()
    spiffe: tuple[SpiffeSettings, ...] = ()
    keys: tuple[KeysSettings, ...] = ()

    @field_validator("jwt")
    @classmethod
    def _one_entry_each(cls, value: tuple[JwtSettings, ...]) -> tuple[JwtSettings, ...]:
        issuers = [one.issuer for one in value]
        twice = sorted({issuer for issuer in issuers if issuers.count(issuer) > 1})
        if twice:
            raise ValueError(f"expected one entry for each issuer; {', '.join(twice)} has several")
        return value

    @property
    def is_on(self) -> bool:
        return bool(self.jwt or self.spiffe or self.keys)


class ClientSettings(_Table):
    """`[client]`: how the commands of callers reach gateways; `forebay.cli.target` reads it.

    It is here so that one file serves the gateway and the commands beside it.
    """

    target: str | None = Field(None, description="as --target: HOST:PORT, or several")
    ca: str | None = Field(None, description="as --ca: PEM file of the gateways' CAs")
    cert: str | None = Field(None, description="as --cert: PEM file of the client's certificate")
    key: str | None = Field(None, description="as --key: PEM file of its key")
    token_file: str | None = Field(None, description="as --token-file: file with the token")
    insecure: bool = Field(False, description="as --insecure: plain text beyond loopback")


class IdentitySettings(BaseModel):
    """Who calls, what they may do, and what the gateway shows of itself."""

    tls: TlsSettings | None = Field(None, description="certificates of the gateway's port")
    auth: AuthSettings = Field(
        default_factory=AuthSettings, description="tokens, API keys and SPIFFE IDs of callers"
    )
    client: ClientSettings | None = Field(
        None,
        description="how `forebay call` and other commands of callers connect; gateways ignore it",
    )
    roles: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="permissions by role; `*` at the end of a permission stands for anything",
    )
    tenants: dict[TenantName, TenantSettings] = Field(
        default_factory=dict, description="limits by tenant; `*` has the defaults"
    )
    insecure: bool = Field(
        False,
        description="whether the gateway may listen beyond loopback without `tls` and `auth`, and "
        "backends need no certificate",
    )
    signing_keys: WholePath | None = Field(
        None, description="TOML file of the keys that sign messages between gateways and workers"
    )
    signing_required: bool = Field(
        True,
        description="with `signing_keys`: whether messages without a signature are refused; false "
        "while keys are being introduced",
    )
    remote_control: bool = Field(
        False,
        description="with `signing_keys`: whether workers obey Celery's remote control, which has "
        "no signatures; without, they always do",
    )
    audit_file: WholePath | None = Field(
        None, description="file of the audit log, JSON lines; unset: standard error"
    )
    audit_required: bool = Field(
        False, description="whether an action fails if it can't be written to the audit log"
    )

    @field_validator("insecure")
    @classmethod
    def _verified_backends(cls, value: bool, info: ValidationInfo) -> bool:
        found = {} if value else dict(_unverified(info.data))
        if found:
            options = ", ".join(f"{name} has {option}" for name, option in found.items())
            raise ValueError(
                f"{options}, so that anyone on the way could pass for that server; remove the "
                "option, and set tls_ca to the file of the CA if it is a private one; for tests, "
                "insecure = true allows it"
            )
        return value

    @field_validator("auth")
    @classmethod
    def _spiffe_with_certificates(cls, value: AuthSettings, info: ValidationInfo) -> AuthSettings:
        tls = info.data.get("tls")
        if value.spiffe and "tls" in info.data and (tls is None or tls.client_ca is None):
            raise ValueError('spiffe needs callers\' certificates: set tls.client_auth = "require"')
        return value

    @property
    def obeys_remote_control(self) -> bool:
        """Whether workers listen to Celery's remote control."""
        return self.signing_keys is None or self.remote_control

    def keyring(self, on_refused: OnRefused | None = None) -> Keyring:
        """The keys that sign and verify messages, read now; raises SettingsError.

        `on_refused` is called for each message that is refused.
        """
        if self.signing_keys is None:
            return NO_KEYS
        try:
            return Keyring.read(
                self.signing_keys, required=self.signing_required, on_refused=on_refused
            )
        except OSError as error:
            problem = str(error.strerror)
        except ValueError as error:
            problem = str(error)
        raise SettingsError(f"signing_keys = {str(self.signing_keys)!r}: {problem}")


def _unverified(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings whose URLs turn verification off, and by which option."""
    urls = {name: settings.get(name) for name in ("ledger_url", "broker_url", "result_url")}
    for name, application in (settings.get("applications") or {}).items():
        urls[f"applications.{name}.broker_url"] = application.broker_url
        urls[f"applications.{name}.result_url"] = application.result_url
    for name, url in urls.items():
        option = unverified_option(url) if url else None
        if option is not None:
            yield name, option


def _is_safe_url(text: str) -> bool:
    """Whether nobody on the way can replace what the URL leads to."""
    try:
        url = urlsplit(text)
        has_port = url.port is None or url.port > 0
    except ValueError:
        return False
    if not url.hostname or not has_port or url.username is not None or not _is_ascii_graph(text):
        return False
    return url.scheme == "https" or (url.scheme == "http" and is_loopback(f"{url.hostname}:"))


def _is_ascii_graph(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text
