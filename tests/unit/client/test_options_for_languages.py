"""Every `.proto` file of the contract says which names its code has in other languages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileOptions, MethodOptions

from forebay.compute.v1 import compute_pb2
from forebay.v1 import call_pb2, calls_pb2, errors_pb2, plain_pb2, route_pb2

PROTOS = Path(__file__).parents[3] / "protos"
FILES = [
    module.DESCRIPTOR
    for module in (call_pb2, calls_pb2, compute_pb2, errors_pb2, plain_pb2, route_pb2)
]
OTHER_EXTENSION = """
syntax = "proto3";
package acme;
import "forebay/v1/route.proto";
import "google/protobuf/descriptor.proto";
extend google.protobuf.MethodOptions { string owner = 50051; }
message Empty {}
service Service {
  rpc Method(Empty) returns (Empty) {
    option (acme.owner) = "somebody";
    option (forebay.v1.route) = {task: "t", queue: "q"};
  }
}
"""


def options_of(file: FileDescriptor) -> FileOptions:
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    return proto.options


def test_all_files_of_the_contract_are_looked_at() -> None:
    assert {file.name for file in FILES} == {
        str(path.relative_to(PROTOS)) for path in (PROTOS / "forebay").rglob("*.proto")
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_has_names_for_each_language(file: FileDescriptor) -> None:
    options = options_of(file)
    words = file.package.split(".")
    *_, before_version, version = words
    capitalised = [word.capitalize() for word in words]
    assert options.go_package == f"{'/'.join(words)};{before_version}{version}"
    assert options.java_package == file.package
    assert options.java_multiple_files
    assert options.java_outer_classname == f"{Path(file.name).stem.capitalize()}Proto"
    assert options.csharp_namespace == ".".join(capitalised)
    assert options.php_namespace == "\\".join(capitalised)
    assert options.ruby_package == "::".join(capitalised)
    assert options.swift_prefix == "".join(capitalised)
    assert options.objc_class_prefix in {"FBY", "FBC"}


def test_the_options_number_is_as_documented() -> None:
    assert route_pb2.route.number == 50051
    assert route_pb2.route.containing_type is MethodOptions.DESCRIPTOR
    plain = plain_pb2.DESCRIPTOR.extensions_by_name.values()
    assert {extension.number for extension in plain} == {route_pb2.route.number}
    page = (PROTOS.parent / "docs" / "routes.md").read_text()
    assert f"number {route_pb2.route.number} of `google.protobuf.MethodOptions`" in page


def test_protoc_refuses_a_method_with_another_extension_of_that_number(tmp_path: Path) -> None:
    (tmp_path / "other.proto").write_text(OTHER_EXTENSION)
    done = subprocess.run(
        [
            *[sys.executable, "-m", "grpc_tools.protoc", f"-I{tmp_path}", f"-I{PROTOS}"],
            *[f"--descriptor_set_out={tmp_path / 'other.binpb'}", "other.proto"],
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "50051" in done.stderr
    assert "forebay.v1.route" in done.stderr
