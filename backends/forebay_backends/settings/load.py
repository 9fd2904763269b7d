"""Reads settings from flags, environment and file, and rejects unknown and invalid ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from tomllib import TOMLDecodeError
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError as UnreadableSettingsError

from forebay.defaults import PREFIX
from forebay_backends.settings.problems import SettingsError, json_expected, problem_line
from forebay_backends.settings.settings import GivenAlone, Settings
from forebay_backends.settings.sources import NESTED, config_file, refuse_unknown_variables


def load_settings(flags: Mapping[str, Any] | None = None) -> Settings:
    """The settings from flags, environment and file; a flag of None counts as not given.

    Raises SettingsError.
    """
    refuse_unknown_variables(Settings.model_fields)
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    return _made(Settings, given)


def given_settings(**given: Any) -> Settings:
    """The given settings and defaults, without environment and file; raises SettingsError."""
    return _made(GivenAlone, given)


def _made(kind: type[Settings], given: Mapping[str, Any]) -> Settings:
    try:
        return kind(**given)
    except ValidationError as error:
        lines = (problem_line(problem, Settings.model_fields) for problem in error.errors())
        problem = "\n".join(lines)
    except UnreadableSettingsError as error:
        problem = _unreadable(str(error))
    except (OSError, TOMLDecodeError) as error:
        problem = f"{config_file()}: {error}"
    raise SettingsError(problem)  # without a cause: its traceback would show passwords


def _unreadable(problem: str) -> str:
    for name in Settings.model_fields:
        if f'"{name}"' in problem:
            variable = PREFIX + name.upper()
            if variable not in os.environ:  # the variable is for a part of the setting
                variable += NESTED + "…"
            return json_expected(variable, os.environ.get(variable, ""), name)
    return problem
