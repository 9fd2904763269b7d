"""The source that Forebay was installed from, as arguments for pip. Pure."""

from __future__ import annotations

import json
import shlex
from urllib.parse import unquote, urlsplit

_DISTRIBUTION = "forebay[testing]"


def pip_arguments(direct_url: str | None) -> str:
    """The arguments that install Forebay from its own source, quoted for a shell.

    `direct_url` is the text of its `direct_url.json` (PEP 610), which installers write for
    everything but packages from an index. For such packages, returns an empty text: their name and
    version are enough.
    """
    if direct_url is None:
        return ""
    origin = json.loads(direct_url)
    url = origin["url"]
    if origin.get("dir_info", {}).get("editable"):
        folder = unquote(urlsplit(url).path)
        return f"--editable {shlex.quote(f'{folder}[testing]')}"
    if version_control := origin.get("vcs_info"):
        url = f"{version_control['vcs']}+{url}@{version_control['commit_id']}"
    if subdirectory := origin.get("subdirectory"):
        url = f"{url}#subdirectory={subdirectory}"
    return shlex.quote(f"{_DISTRIBUTION} @ {url}")
