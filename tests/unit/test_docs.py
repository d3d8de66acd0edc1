"""Links in the documentation lead somewhere. Only links inside the repository are followed: no test needs a network."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+[\"'][^)]*)?\)")
_REFERENCE = re.compile(r"^\s{0,3}\[[^\]]+\]:\s+<?(\S+?)>?(?:\s|$)", re.MULTILINE)
_HTML = re.compile(r"<(?:img|a|source)\s[^>]*?(?:src|href|srcset)=[\"']([^\"']+)[\"']", re.IGNORECASE)
_CODE = re.compile(r"^(```|~~~).*?^\1\s*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def dead_links(page: Path, root: Path) -> list[str]:
    """The links of a Markdown page that lead to no file, or to no heading in it; or out of the repository."""
    return [target for target in _targets(page) if not _leads_somewhere(page, target, root)]


def _targets(page: Path) -> Iterator[str]:
    text = _CODE.sub("", page.read_text())
    for pattern in (_LINK, _REFERENCE, _HTML):
        yield from (target for target in pattern.findall(text) if not _ELSEWHERE.match(target))


def _leads_somewhere(page: Path, target: str, root: Path) -> bool:
    path, _, anchor = unquote(target).partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.is_relative_to(root.resolve()) or not file.exists():
        return False
    return not anchor or file.suffix != ".md" or anchor in _anchors(file)


def _anchors(page: Path) -> set[str]:
    """The anchors of its headings, as Git forges make them: lower case, hyphens, a number from the second on."""
    found: set[str] = set()
    for heading in _HEADING.findall(re.sub(r"^(```|~~~).*?^\1\s*$", "", page.read_text(), flags=re.M | re.S)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 1
        unique = slug
        while unique in found:
            unique = f"{slug}-{number}"
            number += 1
        found.add(unique)
    return found


def _pages() -> list[Path]:
    """Every Markdown page that is or will be committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive
        hidden = {"node_modules", "var", "dist"}
        pages = (page.relative_to(ROOT) for page in ROOT.rglob("*.md"))
        return [page for page in pages if not any(part in hidden or part.startswith(".") for part in page.parts)]
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).exists()]


@pytest.mark.parametrize("page", _pages(), ids=str)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert dead_links(ROOT / page, ROOT) == []


def test_dead_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# One *thing*: first\n\n## Two\n## Two\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](there.md) [b](there.md#one-thing-first) [c](there.md#two-1) [d](#here) [e](https://example.org/x)\n"
        "[f](gone.md) [g](there.md#gone) ![h](gone.png) [i](../outside.md) [j](<there.md>)\n`[code](not-a-link.md)`\n"
        "[![k](gone.svg)](there.md)\n[ref]: gone-too.md\n```\n[code](not-a-link.md)\n```\n"
        '<img alt="" src="gone.jpg">\n'
    )

    assert set(dead_links(page, tmp_path)) == {
        "gone.md",
        "there.md#gone",
        "gone.png",
        "../outside.md",
        "gone.svg",
        "gone-too.md",
        "gone.jpg",
    }
