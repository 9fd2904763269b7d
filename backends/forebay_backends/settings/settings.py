"""All settings in one class."""

from __future__ import annotations

from typing import ClassVar

from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from forebay.defaults import PREFIX
from forebay_backends.settings.backend_settings import BackendSettings
from forebay_backends.settings.identity_settings import IdentitySettings
from forebay_backends.settings.limit_settings import LimitSettings
from forebay_backends.settings.serving_settings import ServingSettings
from forebay_backends.settings.sources import NESTED, config_file


# Fields are validated in their order, and those of the last base come first.
class Settings(LimitSettings, IdentitySettings, BackendSettings, ServingSettings, BaseSettings):
    """Everything that can be set; times in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
        extra="forbid",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,  # it may be a password
    )

    reads_sources: ClassVar[bool] = True
    """Whether environment variables and the file are read, besides the arguments."""

    def of_one_process(self) -> Settings:
        """The settings for one of the gateway's processes, with its share of the limits."""
        return self.model_copy(
            update={
                "max_calls": -(-self.max_calls // self.processes),
                "max_held_bytes": self.max_held_bytes // self.processes,
            }
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags override environment variables, which override the file."""
        if not cls.reads_sources:
            return (init_settings,)
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_file())


class GivenAlone(Settings):
    """Settings that ignore the environment and the file."""

    reads_sources = False
