"""The bindings of methods to HTTP that `google.api.http` describes, and their problems. Pure.

A method has one binding for its rule, and one for each of `additional_bindings`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from forebay.routes.fields import suggestion
from forebay_gateway.web.rest.field_paths import FieldPathError, is_text, resolve
from forebay_gateway.web.rest.path_template import PathTemplate, TemplateError, parse_template

ANY_METHOD = "*"
MAX_BINDINGS = 100
"""The largest number of bindings of one method."""

_TOKEN = re.compile(r"[A-Z][A-Z0-9_-]*", re.ASCII)
_RESERVED = frozenset({"CONNECT", "OPTIONS", "TRACE"})
_WITHOUT_BODY = frozenset({"GET", "HEAD", ANY_METHOD})
_READS = frozenset({"GET", "HEAD", ANY_METHOD})


@dataclass(frozen=True, slots=True)
class Binding:
    """One way to call a method by HTTP.

    `body` is the name of the request field that the body is for, `*` for the whole request, and
    empty if there is no body; `response_body` is a field of the response, and empty for all of it.
    """

    rpc: MethodDescriptor
    http_method: str
    template: PathTemplate
    body: str = ""
    response_body: str = ""

    @property
    def path(self) -> str:
        """The path of the RPC: `/package.Service/Method`."""
        return rpc_path(self.rpc)

    @property
    def path_fields(self) -> Iterator[tuple[str, ...]]:
        """The fields that the URL's path sets."""
        return (variable.field_path for variable in self.template.variables)


@dataclass(frozen=True)
class Bindings:
    """The usable bindings of a method, and a line for each problem of the others."""

    bindings: tuple[Binding, ...] = ()
    problems: tuple[str, ...] = ()


def rpc_path(rpc: MethodDescriptor) -> str:
    """The path of gRPC and Connect."""
    return f"/{rpc.containing_service.full_name}/{rpc.name}"


def read_bindings(rpc: MethodDescriptor, *, may_get: bool) -> Bindings:
    """The bindings of one method; `may_get` if it has no side effects."""
    rule = _rule(rpc)
    if rule is None:
        return Bindings()
    bindings: list[Binding] = []
    problems: list[str] = []
    if len(rule.additional_bindings) >= MAX_BINDINGS:
        problems.append(f"`google.api.http` has over {MAX_BINDINGS} bindings; remove some")
    for number, one in enumerate((rule, *rule.additional_bindings[: MAX_BINDINGS - 1])):
        where = f"`additional_bindings[{number - 1}]`" if number else "`google.api.http`"
        binding, found = _read(rpc, one, may_get=may_get)
        if number and one.additional_bindings:
            found = [*found, "has `additional_bindings` of its own; move them up"]
        if binding is not None and not found:
            bindings.append(binding)
        problems += [f"{where} {problem}" for problem in found]
    return Bindings(tuple(bindings), tuple(problems))


def conflicts(bindings: Sequence[Binding], taken: Sequence[str] = ()) -> Iterator[str]:
    """A line for each binding that another binding, or one of the `taken` paths, hides."""
    seen: dict[tuple[object, str], Binding] = {}
    fixed = frozenset(taken)
    for binding in bindings:
        template, shape = binding.template, binding.template.shape
        literal = "/" + "/".join(map(str, template.segments))
        if literal in fixed and literal != binding.path and not template.verb:
            yield f"{_where(binding)} has {template.text}, which the gateway itself serves"
        other = seen.get((shape, binding.http_method)) or seen.get((shape, ANY_METHOD))
        if other is not None:
            yield (
                f"{_where(binding)} has {binding.http_method} {template.text}, which matches the "
                f"paths of {other.template.text} of {other.rpc.full_name}; change one of them"
            )
        seen.setdefault((shape, binding.http_method), binding)


def _where(binding: Binding) -> str:
    file = binding.rpc.containing_service.file.name
    return f"{file}: {binding.rpc.full_name}: `google.api.http`"


def has_no_side_effects(rpc: MethodDescriptor, level: int = 0) -> bool:
    """Whether a GET may call it; `level` is used if the method's own option has none."""
    given = rpc.GetOptions().idempotency_level or level
    return bool(given == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS)


def _rule(rpc: MethodDescriptor) -> http_pb2.HttpRule | None:
    # Parsed anew: options that were read before `google.api.annotations` was imported lack it.
    options = descriptor_pb2.MethodOptions.FromString(rpc.GetOptions().SerializeToString())
    if not options.HasExtension(annotations_pb2.http):
        return None
    rule: http_pb2.HttpRule = options.Extensions[annotations_pb2.http]
    return rule


def _read(
    rpc: MethodDescriptor, rule: http_pb2.HttpRule, *, may_get: bool
) -> tuple[Binding | None, list[str]]:
    kind = rule.WhichOneof("pattern")
    if kind is None:
        return None, ["has no path; set `get`, `put`, `post`, `delete`, `patch` or `custom`"]
    http_method = rule.custom.kind if kind == "custom" else kind.upper()
    text = rule.custom.path if kind == "custom" else getattr(rule, kind)
    try:
        template = parse_template(text)
    except TemplateError as error:
        return None, [f"has the path {text!r}, which {error}"]
    binding = Binding(rpc, http_method, template, rule.body, rule.response_body)
    return binding, [*_problems(binding, may_get=may_get)]


def _problems(binding: Binding, *, may_get: bool) -> Iterator[str]:
    rpc, http_method = binding.rpc, binding.http_method
    if http_method in _RESERVED or not (http_method == ANY_METHOD or _TOKEN.fullmatch(http_method)):
        yield f"has the HTTP method {http_method!r}; set another one, in capital letters"
    if http_method in _READS and not may_get:
        yield (
            f"lets {'any HTTP method' if http_method == ANY_METHOD else http_method} call a method "
            "that may have side effects; set `option idempotency_level = NO_SIDE_EFFECTS`, or use "
            "`post`"
        )
    if binding.body and http_method in _WITHOUT_BODY:
        yield f"has a `body`, which {http_method} does not have; remove it"
    for path in binding.path_fields:
        yield from _path_field_problems(rpc.input_type, path, binding.body)
    if binding.body not in ("", "*"):
        yield from _body_problems("body", rpc.input_type, binding.body)
    if binding.response_body:
        yield from _body_problems("response_body", rpc.output_type, binding.response_body)


def _path_field_problems(message: Descriptor, path: tuple[str, ...], body: str) -> Iterator[str]:
    name = ".".join(path)
    try:
        fields: Sequence[FieldDescriptor] = resolve(message, path)
    except FieldPathError as error:
        yield f"has the variable {name}, but {error}"
        return
    if fields[-1].is_repeated or not is_text(fields[-1]):
        yield f"has the variable {name}, which is repeated or a message; use a single value"
    if name == body:
        yield f"has the field {name} in the path and as `body`; remove one of them"


def _body_problems(option: str, message: Descriptor, name: str) -> Iterator[str]:
    if name not in message.fields_by_name:
        hint = suggestion(name, [*message.fields_by_name]) or "; name a field of the message itself"
        yield f"has the `{option}` {name!r}, which is not a field of {message.full_name}{hint}"
