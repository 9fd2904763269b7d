"""Files of several sources, with their imports."""

from __future__ import annotations

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from forebay.routes.descriptor_conflicts import conflicts, with_dependencies
from tests.unit.described import IMPORTS, file, route

RUN = {"Run": route()}


def described(*protos: FileDescriptorProto) -> FileDescriptor:
    """The last of the files, in a pool of its own with the others."""
    pool = DescriptorPool()
    for proto in (*IMPORTS, *protos):
        pool.AddSerializedFile(proto.SerializeToString())
    return pool.FindFileByName(protos[-1].name)


def test_files_come_once_each_after_its_imports() -> None:
    first = file("first.proto", "first", imports=(IMPORTS[2].name,))
    second = file("second.proto", "second", imports=("first.proto", IMPORTS[2].name))
    files = list(with_dependencies([described(first, second)] * 2))
    assert [one.name for one in files] == [
        *("google/protobuf/descriptor.proto", "google/protobuf/duration.proto"),
        *("forebay/v1/route.proto", "first.proto", "second.proto"),
    ]


def test_files_that_were_seen_are_left_out_with_their_imports() -> None:
    one = described(file(routes=RUN))
    seen = {IMPORTS[2].name}
    assert list(with_dependencies([one], seen)) == [one]
    assert seen == {IMPORTS[2].name, "shop.proto"}


def test_an_imported_file_conflicts_too() -> None:
    user = file("user.proto", "user", imports=("shop.proto",))
    other = file(fields=("a", "b"))
    sources = {"one": [described(file(), user)], "two": [described(other, user)]}
    assert conflicts(sources) == [
        "shop.proto: two and one have different versions of it; compile both from the same files"
    ]


def test_options_that_only_one_compiler_knew_are_no_conflict() -> None:
    one, other = file(routes=RUN), file(routes=RUN)
    for proto in (one, other):
        proto.options.java_package = "shop"
    other.options.MergeFromString(b"\xf8\x3f\x01")  # 1023: a custom option
    assert not conflicts({"one": [described(one)], "two": [described(other)]})
