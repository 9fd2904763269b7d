"""Templates of `google.api.http` as paths of OpenAPI. Pure.

`/v1/{name=shelves/*}/books:list` becomes `/v1/shelves/{name}/books:list`; a variable with several
wildcards, `{name=shelves/*/books/*}`, becomes `shelves/{name_1}/books/{name_2}`. The
values of OpenAPI's path parameters have no `/`, so only the description of a parameter for `**` can
say that it may be several segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from forebay_gateway.web.rest.path_template import PathTemplate, Variable, Wildcard


@dataclass(frozen=True, slots=True)
class PathParameter:
    """A parameter of a path; `takes_rest` if it is for `**`.

    `field_path` is the path of a request's field; empty for a wildcard outside of variables. With
    `is_whole`, the parameter is the field's whole value; otherwise it is a part of it.
    """

    name: str
    field_path: tuple[str, ...]
    is_whole: bool
    takes_rest: bool


def openapi_path(template: PathTemplate) -> tuple[str, list[PathParameter]]:
    """The path, and its parameters in order."""
    parameters: list[PathParameter] = []
    segments = []
    for number, segment in enumerate(template.segments):
        if isinstance(segment, Wildcard):
            parameter = _parameter(template, number, segment)
            parameters.append(parameter)
            segments.append(f"{{{parameter.name}}}")
        else:
            segments.append(quote(segment, safe="!$&'()*+,;=:@~"))
    verb = f":{template.verb}" if template.verb else ""
    return f"/{'/'.join(segments)}{verb}", parameters


def _parameter(template: PathTemplate, number: int, wildcard: Wildcard) -> PathParameter:
    takes_rest = wildcard is Wildcard.MANY
    variable = _variable_at(template, number)
    if variable is None:
        return PathParameter(f"segment_{number + 1}", (), is_whole=False, takes_rest=takes_rest)
    name = ".".join(variable.field_path)
    end = len(template.segments) if variable.end is None else variable.end
    places = [
        at for at in range(variable.first, end) if isinstance(template.segments[at], Wildcard)
    ]
    if len(places) > 1:
        name = f"{name}_{places.index(number) + 1}"
    is_whole = end == variable.first + 1
    return PathParameter(name, variable.field_path, is_whole=is_whole, takes_rest=takes_rest)


def _variable_at(template: PathTemplate, number: int) -> Variable | None:
    for variable in template.variables:
        if variable.first <= number and (variable.end is None or number < variable.end):
            return variable
    return None
