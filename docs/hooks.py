"""A hook of mkdocs: adds files from outside `docs/`, and checks that the site is self-contained.

Some links in `docs/` lead to files elsewhere in the repository. They work where the repository is
browsed, but not on the site. So the hook copies linked pictures and texts into the site, below
`source/` (texts as `.txt`, which browsers show), replaces a link to a folder by its label, and
makes pages of the changelog and the contributors' guide.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md")
_PICTURES = frozenset({".png", ".svg"})
_LOADED = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=["']?(?:\w+:)?//[^>]*>""")
_LOADED_BY_SHEETS = re.compile(r"""(?:url\(|@import)\s*['"]?(?:\w+:)?//[^;)]*""")
_OUTSIDE = re.compile(r"\[([^\]]*)\]\((\.\./[^)#]+)(?:#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages from the repository's root, with links as if the pages were in `docs/`."""
    for name in PAGES:
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replaces links that leave `docs/` by links to copies of the files."""
    folder = posixpath.dirname(page.file.src_uri)

    def inside(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, link[2]))
        source = ROOT / path
        if path in PAGES:
            return f"[{link[1]}]({posixpath.relpath(path, folder or '.')})"
        if source.is_dir():
            return link[1]
        name = f"source/{path}" + ("" if source.suffix in _PICTURES else ".txt")
        if files.get_file_from_path(name) is None:
            files.append(File.generated(config, name, abs_src_path=str(source)))
        return f"[{link[1]}]({posixpath.relpath(name, folder or '.')})"

    return _OUTSIDE.sub(inside, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Ends the build if a page would fetch anything from another host."""
    site = Path(config.site_dir)
    for pattern, suffix in ((_LOADED, "html"), (_LOADED_BY_SHEETS, "css")):
        for path in site.rglob(f"*.{suffix}"):
            if found := pattern.search(path.read_text(encoding="utf-8")):
                raise PluginError(f"{path}: loads from another host: {found[0]}")
