"""The settings of gateway and worker: flags over `FOREBAY_*` variables over a TOML file.

Gateway and worker read the same settings, so that one file and one environment serve both. Nothing
is read before `load_settings` is called.
"""

from forebay.defaults import CONFIG_VARIABLE, PREFIX
from forebay_backends.settings.applications import ApplicationSettings, CeleryApplication
from forebay_backends.settings.load import given_settings, load_settings
from forebay_backends.settings.problems import SettingsError
from forebay_backends.settings.serving_settings import LOG_FORMATS, LOG_LEVELS
from forebay_backends.settings.settings import Settings
from forebay_backends.settings.sources import NESTED
from forebay_backends.settings.values import RPC

__all__ = [
    "CONFIG_VARIABLE",
    "LOG_FORMATS",
    "LOG_LEVELS",
    "NESTED",
    "PREFIX",
    "RPC",
    "ApplicationSettings",
    "CeleryApplication",
    "Settings",
    "SettingsError",
    "given_settings",
    "load_settings",
]
