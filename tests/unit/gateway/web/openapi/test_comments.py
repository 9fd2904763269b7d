"""Comments of `.proto` files, by the names of what they describe."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from forebay.compute.v1 import compute_pb2
from forebay_gateway.web.openapi import endpoint
from forebay_gateway.web.openapi.comments import comments_of
from forebay_gateway.web.openapi.operations import first_sentence
from tests.protoc import descriptor_set

TEXT = """
syntax = "proto3";
package shop;
// A shop.
//
//   Its list.
service Shop {
  // Sells. It does.
  rpc Sell(Order) returns (Order);
}
// An order.
message Order {
  // Its id.
  string id = 1;
  int32 count = 2; // How many.
  // One of them.
  oneof choice {
    string a = 3;
  }
  // Inside.
  message Line {
    /* A block. */
    string text = 1;
  }
  // Kinds.
  enum Kind {
    // None.
    KIND_UNSPECIFIED = 0;
  }
  string silent = 4;
}
// Colours.
enum Colour {
  COLOUR_UNSPECIFIED = 0; // No colour.
}
"""


def test_each_declaration_has_its_comment(tmp_path: Path) -> None:
    written = descriptor_set(TEXT, tmp_path, include_source_info=True)
    found = comments_of(FileDescriptorSet.FromString(written.read_bytes()).file)
    assert found == {
        "shop.Shop": "A shop.\n\n  Its list.",
        "shop.Shop.Sell": "Sells. It does.",
        "shop.Order": "An order.",
        "shop.Order.id": "Its id.",
        "shop.Order.count": "How many.",
        "shop.Order.choice": "One of them.",
        "shop.Order.Line": "Inside.",
        "shop.Order.Line.text": "A block.",
        "shop.Order.Kind": "Kinds.",
        "shop.Order.Kind.KIND_UNSPECIFIED": "None.",
        "shop.Colour": "Colours.",
        "shop.Colour.COLOUR_UNSPECIFIED": "No colour.",
    }


def test_files_without_source_info_have_no_comments(tmp_path: Path) -> None:
    written = descriptor_set(TEXT, tmp_path)
    assert comments_of(FileDescriptorSet.FromString(written.read_bytes()).file) == {}


def test_the_package_has_the_comments_of_our_own_files() -> None:
    packed = Path(endpoint.__file__).with_name("descriptions.binpb").read_bytes()
    found = comments_of(FileDescriptorSet.FromString(packed).file)
    for message in compute_pb2.DESCRIPTOR.message_types_by_name.values():
        assert all(field.full_name in found for field in message.fields)
    assert first_sentence(found["forebay.compute.v1.ComputeService.Factorial"]) == (
        "Computes the exact factorial of n"
    )


def test_a_summary_is_the_first_sentence() -> None:
    assert first_sentence("Sells it,\nat 1.5 a piece. Then more.\n\nMore.") == (
        "Sells it, at 1.5 a piece"
    )
    assert first_sentence("") == ""
