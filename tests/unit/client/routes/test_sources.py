"""Reading services from modules and descriptor sets, and reporting all their problems."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from google.protobuf.descriptor_pool import Default
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given
from hypothesis import strategies as st

from forebay.compute.v1 import compute_pb2
from forebay.routes import Method, RouteError, method_of, sources
from forebay.routes.sources import SourceError, is_descriptor_set, read_all_methods, read_source
from forebay.v1 import route_pb2
from tests.unit.described import HTTP_IMPORTS, IMPORTS, ROUTE_FILE, file, route, write_set

COMPUTE = "forebay.compute.v1.compute_pb2"
RUN = {"Run": route()}


def problems(*names: str) -> list[str]:
    with pytest.raises(RouteError) as caught:
        read_all_methods(names)
    return caught.value.problems


def problem(name: str) -> str:
    (line,) = problems(name)
    assert line.startswith(f"services = {name!r}: ")
    return line


def test_a_set_is_read_without_any_python_code(tmp_path: Path) -> None:
    name = write_set(tmp_path / "x.binpb", *IMPORTS, file(routes=RUN))
    (method,) = read_all_methods([name])
    assert (method.name, method.path) == ("shop.S.Run", "/shop.S/Run")
    assert (method.route.task, method.route.queue) == ("shop.run", "q")
    assert method.request_class(a="text").SerializeToString() == b"\n\x04text"
    assert method.file.name == "shop.proto"
    assert method_of("/shop.S/Run", method.pool) is not None
    assert method_of("/shop.S/Run") is None  # protobuf's default pool is left alone


def test_the_files_of_a_set_may_be_in_any_order(tmp_path: Path) -> None:
    name = write_set(tmp_path / "x.binpb", file(routes=RUN), *reversed(IMPORTS))
    assert [method.name for method in read_all_methods([name])] == ["shop.S.Run"]


def test_a_source_has_one_pool_for_all_its_files(tmp_path: Path) -> None:
    source = read_source(write_set(tmp_path / "x.binpb", *IMPORTS, file(routes=RUN)))
    assert {id(one.pool) for one in source.files} == {id(source.pool)}
    assert read_source(COMPUTE).pool is Default()


def test_a_set_may_contain_other_versions_of_our_files(tmp_path: Path) -> None:
    descriptor, duration, ours = IMPORTS
    other = type(ours).FromString(ours.SerializeToString())
    other.message_type[0].field.add(name="later", number=99, type=9, label=1)
    other.options.java_package = "com.acme.vendored"
    name = write_set(tmp_path / "x.binpb", descriptor, duration, other, file(routes=RUN))
    (method,) = read_all_methods([name])
    assert method.route.task == "shop.run"
    assert len(read_all_methods([name, COMPUTE])) == 4  # nor conflict with another source's
    again = Default().FindFileByName(ROUTE_FILE)
    assert again is route_pb2.DESCRIPTOR
    assert "later" not in route_pb2.Route.DESCRIPTOR.fields_by_name


def test_a_field_of_a_later_forebays_route_is_refused_by_its_number(tmp_path: Path) -> None:
    later = route_pb2.Route.FromString(route().SerializeToString() + b"\xf8\x3f\x01")  # 1023: 1
    assert [field.field_number for field in UnknownFieldSet(later)] == [1023]  # type: ignore[attr-defined]
    name = write_set(tmp_path / "x.binpb", *IMPORTS, file(routes={"Run": later}))
    (line,) = problems(name)
    assert line == (
        "shop.proto: shop.S.Run: the route has a field 1023, which this version of Forebay does "
        "not know; upgrade Forebay, or remove the field"
    )


def test_our_services_are_ignored_beside_a_users_service(tmp_path: Path) -> None:
    compute = type(IMPORTS[0]).FromString(compute_pb2.DESCRIPTOR.serialized_pb)
    both = write_set(tmp_path / "both.binpb", *IMPORTS, *HTTP_IMPORTS, compute, file(routes=RUN))
    assert [method.name for method in read_all_methods([both])] == ["shop.S.Run"]
    alone = write_set(tmp_path / "alone.binpb", *IMPORTS, *HTTP_IMPORTS, compute)
    assert {method.service for method in read_all_methods([alone])} == {
        "forebay.compute.v1.ComputeService"
    }


def test_a_source_that_is_named_twice_is_one(tmp_path: Path) -> None:
    name = write_set(tmp_path / "x.binpb", *IMPORTS, file(routes=RUN))
    assert len(read_all_methods([name, COMPUTE, name, COMPUTE])) == 4


def test_the_same_files_in_two_sources_are_no_clash(tmp_path: Path) -> None:
    one = write_set(tmp_path / "one.binpb", *IMPORTS, file(routes=RUN))
    copy = file(routes=RUN)
    copy.source_code_info.location.add(leading_comments="more")
    copy.message_type[0].field[0].json_name = "a"
    other = write_set(tmp_path / "other.binpb", *IMPORTS, copy)
    assert [method.name for method in read_all_methods([one, other])] == ["shop.S.Run"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\xff garbage", "is not a descriptor set; write it with `protoc --include_imports"),
        (b"", "is empty, or not a descriptor set; write it with"),
        (b"service S {}", "is not a descriptor set"),
    ],
)
def test_a_file_that_is_not_a_set_is_reported(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.binpb"
    path.write_bytes(content)
    assert says in problem(str(path))


def test_an_invalid_set_is_reported(tmp_path: Path) -> None:
    broken = file(routes=RUN)
    broken.service[0].method[0].input_type = ".shop.NoSuch"
    line = problem(write_set(tmp_path / "x.binpb", *IMPORTS, broken))
    assert "the descriptor set is invalid" in line
    assert "shop.NoSuch" in line


@given(st.binary(max_size=200))
def test_any_file_is_read_or_refused(tmp_path_factory: object, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.binpb"  # type: ignore[attr-defined]
    path.write_bytes(raw)
    with contextlib.suppress(SourceError):
        assert read_source(str(path)).files


def test_a_set_without_its_imports_is_reported(tmp_path: Path) -> None:
    line = problem(write_set(tmp_path / "x.binpb", file(routes=RUN)))
    assert f"lacks imported files ({ROUTE_FILE})" in line
    assert "--include_imports" in line


def test_a_set_over_the_limit_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_SET_BYTES", 100)
    assert "over 100 bytes" in problem(write_set(tmp_path / "x.binpb", *IMPORTS))


def test_a_source_without_a_routed_method_is_reported(tmp_path: Path) -> None:
    unrouted = file(routes={"Run": route_pb2.Route()})
    for name in (
        write_set(tmp_path / "x.binpb", *IMPORTS, unrouted),
        write_set(tmp_path / "y.binpb", *IMPORTS),
        "forebay.v1.route_pb2",
    ):
        assert "no method of it has a route; put `option (forebay.v1.route)" in problem(name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no.such.module", "expected a compiled protobuf module, such as mypkg.my_pb2"),
        ("forebay.routes", "AttributeError"),
        ("forebay.compute.v1.compute_pb2_grpc", "AttributeError"),
        ("", "expected a compiled protobuf module"),
        ("no/such.binpb", "the file can't be read: No such file or directory"),
        ("/", "the file can't be read: Is a directory"),
    ],
)
def test_a_name_without_a_source_is_reported(name: str, says: str) -> None:
    assert says in problem(name)


@pytest.mark.parametrize(
    ("name", "is_set"),
    [
        ("mypkg.my_pb2", False),
        ("x.binpb", True),
        ("x.desc", True),
        ("x.protoset", True),
        ("sets/x", True),
        ("pyproject.toml", True),  # it is there
    ],
)
def test_a_name_is_a_files_or_a_modules(
    name: str, is_set: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[4])
    assert is_descriptor_set(name) is is_set


def test_two_versions_of_a_file_are_a_clash(tmp_path: Path) -> None:
    one = write_set(tmp_path / "one.binpb", *IMPORTS, file(routes=RUN))
    more = file(routes=RUN, fields=("a", "b"))
    other = write_set(tmp_path / "other.binpb", *IMPORTS, more)
    assert problems(one, other) == [
        f"shop.proto: {other} and {one} have different versions of it; "
        "compile both from the same files"
    ]


def test_a_set_that_differs_from_a_compiled_module_is_a_clash(tmp_path: Path) -> None:
    compute = type(IMPORTS[0]).FromString(compute_pb2.DESCRIPTOR.serialized_pb)
    del compute.service[0].method[2]
    old = write_set(tmp_path / "old.binpb", *IMPORTS, *HTTP_IMPORTS, compute)
    (line,) = problems(old, COMPUTE)
    assert line.startswith(f"forebay/compute/v1/compute.proto: {COMPUTE} and {old} have different")


def test_one_name_in_two_files_is_a_clash(tmp_path: Path) -> None:
    one = write_set(tmp_path / "one.binpb", *IMPORTS, file(routes=RUN))
    elsewhere = file("elsewhere/shop.proto", routes=RUN)
    other = write_set(tmp_path / "other.binpb", *IMPORTS, elsewhere)
    lines = problems(one, other)
    assert [line.split()[1] for line in lines] == ["shop.M", "shop.E", "shop.S"]
    assert all("is also in shop.proto of" in line for line in lines)


def test_all_problems_of_several_sources_are_reported_at_once(tmp_path: Path) -> None:
    one = write_set(tmp_path / "one.binpb", *IMPORTS, file(routes={"Run": route(queue="")}))
    taken = file(
        "other.proto",
        "other",
        routes={"A": route(transient="nothing"), "B": route("b", max_batch=2)},
        streams=True,
    )
    other = write_set(tmp_path / "other.binpb", *IMPORTS, taken)
    lines = problems("no.such", one, other)
    assert [line.split(": ")[:2] for line in lines] == [
        ["services = 'no.such'", "expected a compiled protobuf module, such as mypkg.my_pb2, or "
         "a descriptor set; ModuleNotFoundError"],
        ["shop.proto", "shop.S.Run"],
        ["other.proto", "other.S.A"],
        ["other.proto", "other.S.A"],
        ["other.proto", "other.S.B"],
    ]  # fmt: skip
    assert "no `queue`" in lines[1]
    assert "already belongs to shop.S.Run" in lines[2]
    assert "'nothing'" in lines[3]
    assert "`max_batch`" in lines[4]


def test_methods_of_sets_and_modules_have_the_same_fingerprint(tmp_path: Path) -> None:
    compute = type(IMPORTS[0]).FromString(compute_pb2.DESCRIPTOR.serialized_pb)
    alone = write_set(tmp_path / "alone.binpb", *IMPORTS, *HTTP_IMPORTS, compute)

    def prints(methods: tuple[Method, ...]) -> list[str]:
        return [method.fingerprint for method in methods]

    assert prints(read_all_methods([alone])) == prints(read_all_methods([COMPUTE]))
