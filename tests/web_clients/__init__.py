"""Connect's clients from npm, and a browser to run them in."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FileDescriptor

from forebay.routes.descriptor_conflicts import with_dependencies
from tests.npm import installed

_HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def web_clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this folder with its packages, so that the tree stays as it is."""
    return installed(_HERE, tmp_path_factory.mktemp("web") / "clients")


def descriptor_set(*roots: FileDescriptor) -> bytes:
    """The files and those that they import, with the names in JSON that protoc writes for clients.

    Generated code of Python has none.
    """
    descriptors = descriptor_pb2.FileDescriptorSet()
    for file in with_dependencies(roots):
        proto = descriptors.file.add()
        file.CopyToProto(proto)
        for message, of in zip(
            proto.message_type, file.message_types_by_name.values(), strict=True
        ):
            _name_fields(message, of)
    return descriptors.SerializeToString()


def _name_fields(message: descriptor_pb2.DescriptorProto, of: Descriptor) -> None:
    for field in message.field:
        field.json_name = of.fields_by_name[field.name].json_name
    for nested in message.nested_type:
        _name_fields(nested, of.nested_types_by_name[nested.name])
