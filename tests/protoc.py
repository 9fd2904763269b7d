"""Compiles `.proto` files that tests write."""

from __future__ import annotations

from pathlib import Path

import grpc_tools
from grpc_tools import protoc

from forebay.cli.protos import copy_googles, include_path

_WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"


def descriptor_set(
    text: str, folder: Path, name: str = "t.proto", *, include_source_info: bool = False
) -> Path:
    """Writes the file and its descriptor set, with its imports; fails if it is invalid.

    With source info, the set has the comments.
    """
    path, found = folder / name, folder / f"{name.replace('/', '.')}.binpb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    copy_googles(folder / "google-apis")
    includes = [f"-I{one}" for one in (folder, include_path(), folder / "google-apis", _WELL_KNOWN)]
    options = ["--include_imports", f"--descriptor_set_out={found}"]
    options += ["--include_source_info"] if include_source_info else []
    assert protoc.main(["protoc", *includes, *options, name]) == 0, text
    return found
