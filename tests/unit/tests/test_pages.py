"""The reader runs pages, and reports where a result differs from the page's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.pages import Reader, blocks

PAGE = """
1. First

    ```python title="greeting.py"
    WHOM = "somewhere:1"
    ```

Then

```sh
export PLANET='the moon'
echo "to $PLANET \\
  from somewhere:1"
false  # exit code 1
```

```text
to … from here:2
```

```python
import greeting
print("one")
print("two")
print(greeting.WHOM)
```

```text
…
here:2
```
"""


def read(folder: Path, text: str) -> None:
    page = folder / "page.md"
    page.write_text(text)
    with Reader(folder, os.environ, {"somewhere:1": "here:2"}) as reader:
        reader.read(page)


def test_files_commands_and_programs_are_run_in_order(tmp_path: Path) -> None:
    read(tmp_path, PAGE)
    assert (tmp_path / "greeting.py").read_text() == 'WHOM = "here:2"\n'


def test_a_block_has_its_page_and_line(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    assert [block.place for block in blocks(tmp_path / "page.md")][:2] == [
        "page.md:4",
        "page.md:10",
    ]


SECTIONS = """# Page

## One

```sh
1
```

### More

```sh
2
```

## Two

```sh
3
```
"""


def test_a_section_ends_at_the_next_heading(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(SECTIONS)
    assert [block.text for block in blocks(page, "One")] == ["1\n", "2\n"]
    assert [(block.place, block.text) for block in blocks(page, "Two")] == [("page.md:17", "3\n")]
    with pytest.raises(ValueError, match="not found"):
        list(blocks(page, "Three"))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("here:2\n```\n", "there\n```\n"),  # another output
        ("…\nhere:2", "here:2"),  # more output
        ("exit code 1", "exit code 2"),
        ("false", "true"),
        ("import greeting", "import nothing"),
        ("```python\nimport", "```perl\nimport"),
        ("Then", '```python title="greeting.py"\nWHOM = "me"\n```'),  # not a part of the file
    ],
)
def test_a_result_that_differs_from_the_page_fails(tmp_path: Path, right: str, wrong: str) -> None:
    assert right in PAGE
    with pytest.raises(AssertionError, match=r"page\.md:\d+"):
        read(tmp_path, PAGE.replace(right, wrong))
