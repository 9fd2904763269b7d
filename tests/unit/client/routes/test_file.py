"""Routes in a file: read as the option is, and all that is wrong with them is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, MethodOptions
from hypothesis import given
from hypothesis import strategies as st

from forebay.routes import Method, RouteError, file, method_of, read_route_file
from forebay.routes.sources import read_all_methods
from forebay.v1 import route_pb2
from tests.unit.described import IMPORTS, route, write_set
from tests.unit.described import file as described

NONE = route_pb2.Route()
FULL = """
["shop.S.Run"]
task = "shop.run"
queue = "q"
ephemeral = true
max_batch = 4
on_disconnect = "ON_DISCONNECT_CANCEL"
priority = 3
max_priority = 9
metadata = ["x-tenant", "x-user"]
caller_chooses_on_disconnect = true
limits = {queue_wait = "1.5s", run_time = {seconds = 90}, attempts = 2, request_bytes = 1024}
idempotency_level = "IDEMPOTENT"
"""
PLAIN = """
[shop.S.Run]
task = "shop.run"
queue = "q"
[shop.S.Run.plain]
positional = ["a"]
let_finish = true
exceptions = [{type = "KeyError", status = "NOT_FOUND", tell_message = true}]
"""


def served(folder: Path, text: str, *protos: FileDescriptorProto) -> tuple[Method, ...]:
    (folder / "routes.toml").write_text(text)
    protos = protos or (described(routes={"Run": NONE}, imports=()),)
    name = write_set(folder / "x.binpb", *IMPORTS, *protos)
    return read_all_methods([name], routes=folder / "routes.toml", every_route=True)


def problems(folder: Path, text: str, *protos: FileDescriptorProto) -> list[str]:
    """The problems, without the folder of the file."""
    with pytest.raises(RouteError) as caught:
        served(folder, text, *protos)
    return [line.replace(f"{folder}/", "") for line in caught.value.problems]


def test_a_file_gives_a_method_the_route_that_the_option_would(tmp_path: Path) -> None:
    limits = route_pb2.Limits(attempts=2, request_bytes=1024)
    limits.queue_wait.FromMilliseconds(1500)
    limits.run_time.FromSeconds(90)
    option = route(
        ephemeral=True,
        max_batch=4,
        on_disconnect=route_pb2.ON_DISCONNECT_CANCEL,
        priority=3,
        max_priority=9,
        metadata=["x-tenant", "x-user"],
        caller_chooses_on_disconnect=True,
        limits=limits,
    )
    name = write_set(tmp_path / "y.binpb", *IMPORTS, described(routes={"Run": option}))
    (by_option,) = read_all_methods([name])
    (by_file,) = served(tmp_path, FULL)
    assert by_file.route == by_option.route
    assert (by_file.name, by_file.path) == (by_option.name, by_option.path)
    assert (by_file.may_run_again, by_option.may_run_again) == (True, False)


def test_a_name_without_quotes_is_read_as_one_with_quotes(tmp_path: Path) -> None:
    (method,) = served(tmp_path, PLAIN)
    assert method.name == "shop.S.Run"
    plain = method.route.plain
    assert plain is not None
    assert (plain.positional, plain.let_finish) == (("a",), True)
    assert [one.type for one in plain.exceptions] == ["KeyError"]
    (method,) = served(tmp_path, PLAIN.replace("[shop.S.Run", '["shop.S.Run"'))
    assert method.route.plain == plain


def test_an_empty_table_makes_a_task_plain(tmp_path: Path) -> None:
    (method,) = served(tmp_path, '["shop.S.Run"]\ntask = "t"\nqueue = "q"\nplain = {}\n')
    assert method.is_plain


def test_methods_by_option_and_by_file_are_served_together(tmp_path: Path) -> None:
    both = described(routes={"Run": NONE, "Other": route("shop.other")})
    assert [one.name for one in served(tmp_path, FULL, both)] == ["shop.S.Run", "shop.S.Other"]


def test_a_method_has_one_route(tmp_path: Path) -> None:
    proto = described(routes={"Run": route("shop.first")})
    proto.service[0].method[0].options.idempotency_level = MethodOptions.IDEMPOTENT
    assert problems(tmp_path, FULL, proto) == [
        "routes.toml: shop.S.Run: it has a route in shop.proto, too; remove one of them",
        "routes.toml: shop.S.Run: `idempotency_level` is set in shop.proto; remove it here",
    ]


def test_a_routes_level_counts_where_the_proto_sets_none(tmp_path: Path) -> None:
    proto = described(routes={"Run": NONE})
    proto.service[0].method[0].options.idempotency_level = MethodOptions.NO_SIDE_EFFECTS
    (method,) = served(tmp_path, '["shop.S.Run"]\ntask = "t"\nqueue = "q"\n', proto)
    assert method.may_run_again


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('tsk = "x"', "`tsk` is not a field of a route; did you mean `task`?"),
        ('xyz = "x"', "`xyz` is not a field of a route; expected one of task, queue, ephemeral,"),
        ("task = 5", "`task` is 5; expected a text"),
        ("live = 1", "`live` is 1; expected true or false"),
        ("max_batch = -1", "`max_batch` is -1; expected 0 to 4294967295"),
        ("max_batch = true", "`max_batch` is True; expected a whole number"),
        ("priority = 1.5", "`priority` is 1.5; expected a whole number"),
        ("metadata = 'x'", "`metadata` is 'x'; expected a list"),
        ("metadata = [1]", "`metadata[0]` is 1; expected a text"),
        ("limits = 1", "`limits` is 1; expected a table"),
        (
            "limits.que_wait = '1s'",
            "`limits.que_wait` is not a field of a route; did you mean `que",
        ),
        ("limits.queue_wait = 'soon'", "`limits.queue_wait` is 'soon'; expected a duration, such"),
        ("limits.queue_wait = 5", "`limits.queue_wait` is 5; expected a duration, such as"),
        ("limits.attempts = 5000000000", "`limits.attempts` is 5000000000; expected 0 to"),
        ("plain.exceptions = [1]", "`plain.exceptions[0]` is 1; expected a table"),
        (
            "plain.exceptions = [{typ = 'x'}]",
            "`plain.exceptions[0].typ` is not a field of a route; d",
        ),
        ("on_disconnect = 'DETACH'", "; did you mean `ON_DISCONNECT_DETACH`?"),
        ("on_disconnect = 2", "`on_disconnect` is 2; set one of ON_DISCONNECT_CANCEL, ON_"),
        ("idempotency_level = 'IDEMPOTEN'", "; did you mean `IDEMPOTENT`?"),
        ("idempotency_levl = 'IDEMPOTENT'", "did you mean `idempotency_level`?"),
        ("limits.stall = '1s'", "`limits.stall` is for streaming responses; remove it"),
        ("plain.application = 'x'\nlive = true", "`live` is not for `plain` tasks; remove it"),
    ],
)
def test_what_is_wrong_with_a_route_is_said_with_file_and_method(
    tmp_path: Path, line: str, problem: str
) -> None:
    lines = problems(tmp_path, f'["shop.S.Run"]\nqueue = "q"\n{line}\n')
    assert all(one.startswith("routes.toml: shop.S.Run: ") for one in lines)
    assert any(problem in one for one in lines), lines


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("shop.S.Rum", "shop.S has no such method; did you mean `Run`?"),
        ("shop.S.Xyzzy", "shop.S has no such method; it has Run"),
        ("shop.T.Run", "no service has this method; did you mean `shop.S.Run`?"),
        ("shop.S/Run", "no service has this method; did you mean `shop.S.Run`?"),
        ("acme.Other.Do", "no service has this method; add its module or descriptor set to `s"),
    ],
)
def test_a_method_that_no_service_has_is_a_problem(tmp_path: Path, name: str, says: str) -> None:
    text = f'["{name}"]\ntask = "a"\nqueue = "q"\n["shop.S.Run"]\ntask = "t"\nqueue = "q"\n'
    (line,) = problems(tmp_path, text)
    assert line.startswith(f"routes.toml: {name}: {says}")
    text = text[: text.index('["shop.S.Run"]')]
    assert any(line.startswith(f"routes.toml: {name}: {says}") for line in problems(tmp_path, text))


def test_a_caller_may_name_some_of_the_services(tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text(FULL + "[acme.Other.Do]\ntsk = 1\n")
    name = write_set(tmp_path / "x.binpb", *IMPORTS, described(routes={"Run": NONE}))
    (method,) = read_all_methods([name], routes=tmp_path / "routes.toml")
    assert method.name == "shop.S.Run"


def test_all_problems_of_sources_options_and_file_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text(
        'queue = "q"\n["shop.S.Run"]\ntask = "same"\nlive = true\nquee = "q"\n'
        '["shop.S.Run".limits]\nattempts = "two"\n[acme.Other.Do]\ntsk = "x"\n'
    )
    proto = described(routes={"First": route("same", queue=""), "Run": NONE})
    name = write_set(tmp_path / "x.binpb", *IMPORTS, proto)
    path = str(tmp_path / "routes.toml")
    with pytest.raises(RouteError) as caught:
        read_all_methods(["no.such", name], routes=path, every_route=True)
    lines = [line.replace(f"{tmp_path}/", "") for line in caught.value.problems]
    assert [line[:48] for line in lines] == [
        "services = 'no.such': expected a compiled protob",
        "routes.toml: acme.Other.Do: `tsk` is not a field",
        "routes.toml: `queue` is in no method's table; pu",
        "shop.proto: shop.S.First: the route has no `queu",
        "routes.toml: shop.S.Run: `quee` is not a field o",
        "routes.toml: shop.S.Run: `limits.attempts` is 't",
        "routes.toml: shop.S.Run: task 'same' already bel",
        "routes.toml: shop.S.Run: the route has no `queue",
        "routes.toml: shop.S.Run: `live` is for streaming",
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "the routes can't be read: No such file or directory"),
        (b"task = ", "the file is not TOML: "),
        (b"\xff", "the file is not TOML: "),
        (b"a = " + b"[" * 5000, "the file is not TOML: "),
        (b"# " + b"x" * 200, "the file is over 100 bytes, too large for routes"),
        (b"[shop.S.Run]\nlive = 1\n['shop.S.Run']\nlive=1\n", "shop.S.Run has two tables; remove"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, says: str
) -> None:
    path = tmp_path / "routes.toml"
    if content is not None:
        path.write_bytes(content)
        if b"#" in content:
            monkeypatch.setattr(file, "MAX_FILE_BYTES", 100)
    name = write_set(tmp_path / "x.binpb", *IMPORTS, described(routes={"Run": NONE}))
    with pytest.raises(RouteError) as caught:
        read_all_methods([name], routes=path)
    assert caught.value.problems[0].startswith(f"{path}: {says}")


TOML = st.recursive(
    st.one_of(st.booleans(), st.integers(-5, 1 << 65), st.text(max_size=5), st.floats()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
)


@given(
    st.dictionaries(
        st.sampled_from([*NONE.DESCRIPTOR.fields_by_name, "idempotency_level", "x"]), TOML
    )
)
def test_any_table_is_a_route_or_has_its_problems(table: dict[str, object]) -> None:
    read = file._routes("r.toml", {"a.B.C": table, **table})
    assert "a.B.C" in read.routes
    assert all(isinstance(line, str) for line in read.all_problems())


def test_methods_are_found_by_path_as_the_file_routes_them(tmp_path: Path) -> None:
    (method,) = served(tmp_path, FULL)
    routes = read_route_file(tmp_path / "routes.toml")
    assert method_of("/shop.S/Run", method.pool) is None
    found = method_of("/shop.S/Run", method.pool, routes)
    assert found is not None
    assert found.route == method.route


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("shp", "'shp', which is not an application in the settings; did you mean `shop`?"),
        ("other", "settings; add [applications.other] with its broker_url there"),
    ],
)
def test_an_unknown_application_is_a_problem_of_the_route(
    tmp_path: Path, name: str, says: str
) -> None:
    text = f'["shop.S.Run"]\ntask = "t"\nqueue = "q"\nplain = {{application = "{name}"}}\n'
    (tmp_path / "routes.toml").write_text(text)
    source = write_set(tmp_path / "x.binpb", *IMPORTS, described(routes={"Run": NONE}))
    path = tmp_path / "routes.toml"
    with pytest.raises(RouteError, match=r"plain\.application"):
        read_all_methods([source], routes=path, applications=())
    with pytest.raises(RouteError) as caught:
        read_all_methods([source], routes=path, applications=("shop", "mail"))
    assert says in str(caught.value)
    (method,) = read_all_methods([source], routes=path, applications=(name,))
    assert method.application == name
    (method,) = read_all_methods([source], routes=path)
    assert method.application == name


def test_applications_may_have_tasks_of_the_same_name(tmp_path: Path) -> None:
    plain = route_pb2.PlainTask(application="shop")
    proto = described(
        routes={"A": route("t", plain=plain), "B": route("t"), "C": route("t", plain=plain)}
    )
    name = write_set(tmp_path / "x.binpb", *IMPORTS, proto)
    assert len(read_all_methods([name])) == 3
