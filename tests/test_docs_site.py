"""docs/ as a site: it builds without a warning, all of its pages are in its tree, and it asks no other host."""

# ruff: noqa: F811 -- a fixture that is imported is named again by the test that takes it

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from browser import PHONE, chromium, visitor  # noqa: F401 -- two of them are fixtures

PROJECT = Path(__file__).parents[1]
PAGES = sorted(path.stem for path in (PROJECT / "docs").glob("*.md"))
LOADED = {"src", "srcset", "data", "poster", "action"}
"""Attributes by which a page loads or sends something; `href` does so on `link` alone."""


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Builds `source` as `make docs` does."""
    line = re.search(r"^SPHINX = \$\(BIN\)/python -m (sphinx .*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert line
    words = line[1].replace("$(DOCS)", str(site)).replace(".cache/doctrees", str(site / "doctrees")).split()
    words[words.index("docs")] = str(source)
    return subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs")
    done = build(PROJECT / "docs", out)
    assert (done.returncode, done.stderr) == (0, "")
    return out


def test_every_page_is_in_the_index() -> None:
    index = (PROJECT / "docs" / "index.md").read_text()
    linked = re.findall(r"^- .*?\]\(([\w-]+)\.md\)", index, re.MULTILINE)
    assert sorted([*linked, "index"]) == PAGES


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_its_tree_leads_to_every_page(site: Path) -> None:
    tree = (site / "index.html").read_text().split('class="sidebar-tree"')[1].split("</aside>")[0]
    assert sorted([*re.findall(r'href="([\w-]+)\.html"', tree), "index"]) == PAGES
    assert all((site / f"{page}.html").is_file() for page in PAGES)


@pytest.mark.slow
def test_no_page_of_the_site_loads_anything_from_another_host(site: Path) -> None:
    class Loads(HTMLParser):
        found: list[str] = []  # noqa: RUF012 -- one list for all pages

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            self.found += [
                value or "" for name, value in attributes if name in LOADED or (tag, name) == ("link", "href")
            ]

    for page in site.rglob("*.html"):
        Loads().feed(page.read_text())
    assert len(Loads.found) > len(PAGES)
    assert [found for found in Loads.found if re.match(r"(https?:)?//", found)] == []
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text()), sheet


@pytest.mark.slow
def test_pages_are_found_without_a_server_or_a_network(site: Path, visitor) -> None:
    page = visitor.open((site / "search.html").as_uri() + "?q=ledger")
    page.wait_for_selector("#search-results li a")
    found = [link.get_attribute("href") or "" for link in page.locator("#search-results li a").all()]
    assert any("privacy.html" in link for link in found)
    assert not any("://" in link and not link.startswith("file:") for link in found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["index", "roles", "recipe", "peers"])
def test_a_page_of_the_site_fits_a_phone(site: Path, visitor, name: str) -> None:
    page = visitor.open((site / f"{name}.html").as_uri(), width=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE


@pytest.mark.slow
def test_what_leads_nowhere_ends_the_build(tmp_path: Path) -> None:
    def ends(text: str) -> bool:
        (tmp_path / "index.md").write_text(f"# A page\n\n{text}\n")
        return build(tmp_path, tmp_path / "site").returncode != 0

    (tmp_path / "conf.py").write_text((PROJECT / "docs" / "conf.py").read_text())
    assert not ends("[a](#a-page)")
    assert ends("[a](gone.md)")
    assert ends("[a](index.md#gone)")
    assert ends("[a](#gone)")
