"""The settings of identity: TLS of the gateway's port, authentication, roles, tenants, audit."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from forebay_backends.settings.values import PemFile, Seconds, WholePath


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsSettings(_Table):
    """`[tls]`: what the gateway shows to callers, and whether they show a certificate."""

    certificate: PemFile = Field(description="PEM file of the certificate, with its chain")
    key: PemFile = Field(description="PEM file of the certificate's key")
    client_ca: PemFile | None = Field(
        None, description="PEM file of the CAs that sign callers' certificates"
    )
    client_auth: Literal["none", "require"] = Field(
        "none", description="whether callers must show a certificate"
    )
    refresh_s: Seconds = Field(
        10.0, gt=0, description="how often the files are looked at for new certificates"
    )


class JwtSettings(_Table):
    """`[[auth.jwt]]`: tokens of one issuer; a token's `iss` picks the entry."""

    issuer: str = Field(description="the `iss` of the tokens")
    audiences: tuple[str, ...] = Field(min_length=1, description="one must be in the token's `aud`")
    algorithms: tuple[str, ...] = Field(min_length=1, description="such as RS256, ES256, EdDSA")
    jwks_url: str | None = Field(None, description="https URL of the issuer's public keys")
    jwks_file: WholePath | None = Field(None, description="file of the issuer's public keys")
    leeway_s: Seconds = Field(30.0, ge=0, description="how far clocks may differ")
    tenant: str = Field("tenant", description="the claim of the tenant; a dot reaches into objects")
    subject: str = Field("sub", description="the claim of the subject")
    roles: str = Field("scope", description="the claim of the roles: a list, or words in a text")


class SpiffeSettings(_Table):
    """`[[auth.spiffe]]`: callers with a SPIFFE ID in their certificate."""

    pattern: str = Field(description="such as spiffe://prod.example/ns/{tenant}/sa/{subject}")
    roles: tuple[str, ...] = Field(description="the roles of such callers")


class KeysSettings(_Table):
    """`[[auth.keys]]`: API keys."""

    file: WholePath = Field(description="TOML file, written by `forebay keys`")


class AuthSettings(_Table):
    """`[auth]`: who may call; empty: everyone, without a name."""

    jwt: tuple[JwtSettings, ...] = ()
    spiffe: tuple[SpiffeSettings, ...] = ()
    keys: tuple[KeysSettings, ...] = ()

    @property
    def is_on(self) -> bool:
        return bool(self.jwt or self.spiffe or self.keys)


class TenantSettings(_Table):
    """`[tenants.NAME]`: the limits of one tenant; those of `[tenants."*"]` where unset."""

    in_flight: int | None = Field(None, ge=1, description="limit of calls in flight")
    per_second: float | None = Field(None, gt=0, description="limit of new calls a second")
    queued: int | None = Field(None, ge=1, description="limit of calls that wait for a worker")
    held_bytes: int | None = Field(None, ge=1, description="limit of bytes in gateways' memory")
    weight: int | None = Field(None, ge=1, le=100, description="share of the workers; unset: 1")
    max_priority: int | None = Field(None, ge=0, le=9, description="highest priority of a call")


class IdentitySettings(BaseModel):
    """Who calls, what they may do, and what the gateway shows of itself."""

    tls: TlsSettings | None = Field(None, description="certificates of the gateway's port")
    auth: AuthSettings = Field(
        default_factory=AuthSettings, description="tokens, API keys and SPIFFE IDs of callers"
    )
    roles: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="permissions by role; `*` at the end of one stands for anything",
    )
    tenants: dict[str, TenantSettings] = Field(
        default_factory=dict, description="limits by tenant; `*` has the defaults"
    )
    insecure: bool = Field(
        False,
        description="whether the gateway listens beyond loopback without `tls` and `auth`, and "
        "backends need no certificate",
    )
    signing_keys: WholePath | None = Field(
        None, description="TOML file of the keys that sign messages between gateways and workers"
    )
    audit_file: WholePath | None = Field(
        None, description="file of the audit log, JSON lines; unset: standard error"
    )
    audit_required: bool = Field(
        False, description="whether what can't be written to the audit log fails"
    )
