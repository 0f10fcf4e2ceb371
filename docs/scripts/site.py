"""MkDocs' hook: the README is the site's first page, and every file that a page links to becomes a page of its own.

So the same relative links work on a git host and in the site, which leads nowhere outside of itself.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
FRONT = {"README.md": "index.md", "README.ko.md": "ko.md"}
LANGUAGES = {".yaml": "yaml", ".yml": "yaml", ".py": "python", ".sh": "bash", ".sql": "sql", ".txt": "text", "": "text"}
HIDDEN = ("__pycache__", "mlruns", "build", "dist")
LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]+)(#[^)\s]*)?\)")  # to no other host, and no picture in the page itself


def links(text: str, origin: Path) -> Iterator[Path]:
    """Yield every file and folder of the repository that a page links to, which is the file `origin` there."""
    for match in LINK.finditer(text):
        target = Path(os.path.normpath(origin.parent / match[1]))
        if target.is_relative_to(ROOT) and target.exists():
            yield target


def place_of(target: Path) -> str:
    """Return where a file or folder of the repository is in the site's sources."""
    path = target.relative_to(ROOT).as_posix()
    if path in FRONT or path.startswith("docs/"):
        return FRONT.get(path, path.removeprefix("docs/"))
    if target.name == "README.md":
        return place_of(target.parent)
    return f"source/{path}/index.md" if target.is_dir() else f"source/{path.removesuffix('.md')}.md"


def relinked(text: str, origin: Path) -> str:
    """Return a page's text with links as the site has them; `origin` is its file in the repository."""
    here = Path(place_of(origin)).parent

    def link(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(origin.parent / match[1]))
        if not (target.is_relative_to(ROOT) and target.exists()):
            return match[0]
        return f"]({os.path.relpath(place_of(target), here)}{match[2] or ''})"

    return LINK.sub(link, text)


def page_of(target: Path) -> str:
    """Return a file or folder outside of docs/ as Markdown, with links as the repository has them."""
    title = f"# {target.relative_to(ROOT).as_posix()}"
    if target.is_dir():
        listed = [path for path in sorted(target.iterdir()) if path.name[0] != "." and path.name not in HIDDEN]
        lines = [
            f"- [{path.name}]({target.name}/{path.name})" if is_text(path) else f"- {path.name}" for path in listed
        ]
        return "\n".join([title, "", *lines])
    if target.suffix == ".md":
        return target.read_text()
    if target.suffix == ".ipynb":
        return f"{title}\n\n{''.join(cells(json.loads(target.read_text())))}"
    return f"{title}\n\n``````{LANGUAGES[target.suffix]}\n{target.read_text()}``````"


def is_text(target: Path) -> bool:
    """Return whether a file or folder can be a page."""
    return target.is_dir() or target.suffix in (*LANGUAGES, ".md", ".ipynb")


def cells(notebook: dict[str, Any]) -> Iterator[str]:
    """Yield a notebook's cells as Markdown, with the figures that they show."""
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        yield f"``````python\n{text}\n``````\n\n" if cell["cell_type"] == "code" else f"{text}\n\n"
        for output in cell.get("outputs", []):
            if image := output.get("data", {}).get("image/png"):
                yield f"![](data:image/png;base64,{''.join(image).strip()})\n\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README and all that pages link to, and that these link to."""
    docs = ROOT / "docs"
    waiting = [ROOT / name for name in FRONT]
    waiting += [target for path in docs.rglob("*.md") for target in links(path.read_text(), path)]
    done: set[Path] = set()
    while waiting:
        target = waiting.pop()
        if target.name == "README.md" and place_of(target) not in FRONT.values():
            target = target.parent
        if target in done or target.is_relative_to(docs) or not is_text(target):
            continue
        done.add(target)
        text = page_of(target)
        # A folder's page lies in it, and its links are written as from beside it.
        waiting += links(text, target)
        content = relinked(text, target)
        if (readme := target / "README.md").is_file():
            content = f"{relinked(readme.read_text(), readme)}\n#{content}"
        front = "hide: [navigation]" if place_of(target) in FRONT.values() else "search: {boost: 0.5}"
        content = f"---\n{front}\n---\n{content}"
        files.append(File.generated(config, place_of(target), content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let the links of a page of docs/ lead to the pages that were added."""
    origin = ROOT / "docs" / page.file.src_uri
    return relinked(markdown, origin) if origin.is_file() else markdown
