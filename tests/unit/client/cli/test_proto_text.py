"""A method is shown as a .proto file declares it."""

from __future__ import annotations

from pathlib import Path

from forebay.cli.proto_text import method_text
from forebay.routes.sources import read_source
from tests.protoc import descriptor_set

SHOP = """
syntax = "proto3";
package shop;
import "google/protobuf/duration.proto";
service Shop { rpc Order(stream Wish) returns (stream Nothing); }
message Wish {
  optional string name = 1;
  oneof how { bool now = 2; google.protobuf.Duration within = 3; }
  map<string, Wish> more = 4;
  repeated Size sizes = 5;
  message Inner {}
  Inner inner = 7;
}
enum Size { SMALL = 0; LARGE = 1; }
message Nothing {}
"""
TEXT = """\
rpc shop.Shop.Order(stream shop.Wish) returns (stream shop.Nothing);

message shop.Wish {
  optional string name = 1;
  oneof how {
    bool now = 2;
    google.protobuf.Duration within = 3;
  }
  map<string, shop.Wish> more = 4;
  repeated shop.Size sizes = 5;
  shop.Wish.Inner inner = 7;
}

enum shop.Size {
  SMALL = 0;
  LARGE = 1;
}

message shop.Wish.Inner {}

message shop.Nothing {}"""


def test_a_method_is_shown_with_its_messages_each_once_and_without_well_known_types(
    tmp_path: Path,
) -> None:
    pool = read_source(str(descriptor_set(SHOP, tmp_path))).pool
    assert method_text(pool.FindMethodByName("shop.Shop.Order")) == TEXT
