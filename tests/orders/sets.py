"""Descriptor sets of the service, as `buf build` writes them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.harness import BIN, environment

HERE = Path(__file__).parent
PROTOS = HERE.parents[1] / "protos"
BUF_YAML = "version: v2\nmodules:\n  - path: own\n  - path: forebay\n"


def build(version: str, folder: Path, *options: str) -> Path:
    """The set of `now` or `before`, built in a workspace that also contains our protos."""
    workspace = folder / version
    shutil.copytree(HERE / version, workspace / "own")
    shutil.copytree(PROTOS, workspace / "forebay")
    (workspace / "buf.yaml").write_text(BUF_YAML)
    built = folder / f"{version}.binpb"
    subprocess.run(
        [BIN / "buf", "build", str(workspace), "--output", str(built), *options],
        env=environment(HOME=str(folder)),
        check=True,
    )
    return built
