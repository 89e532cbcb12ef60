"""Pages for people: their links lead somewhere, and what is stated twice agrees."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "weights" / "README.md",
    ROOT / "examples" / "README.md",
]
WRITTEN_BY_COMMANDS = ROOT / "docs" / "results" / "tables"


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)


def anchors(page: Path) -> set[str]:
    """What a link may name after `#`: the headings, as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    wrong = []
    for link in re.findall(r"\]\(\s*([^)\s]+)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert not wrong


def test_lines_by_hand_are_wrapped_at_100():
    by_hand = [page for page in PAGES if not page.is_relative_to(WRITTEN_BY_COMMANDS)]
    for page in by_hand:
        lines = page.read_text(encoding="utf-8").split("\n")
        long = [line for line in lines if len(line) > 100 and not line.startswith("|")]
        assert not long, f"{page.relative_to(ROOT)}: {long[0]}"


def test_every_page_is_reached_from_the_readme():
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached or page not in PAGES:
            continue
        reached.add(page)
        links = re.findall(r"\]\(\s*([^)\s#]+)", prose(page))
        ahead += [(page.parent / link).resolve() for link in links if not link.startswith("http")]
    assert not set(PAGES) - reached


def test_citation_names_the_version_and_the_holders_of_the_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{citation["version"]}"' in project
    (holder,) = (author["name"] for author in citation["authors"])
    assert holder in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert all(each["title"] and each["authors"] for each in citation["references"])
