"""SECURITY.md, CHANGELOG.md and CITATION.cff: in their forms, of this version, and linked."""

from __future__ import annotations

import datetime
import re
import tomllib
from pathlib import Path

import yaml

PROJECT = Path(__file__).parents[1]
META = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
CHANGES = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
"""Keep a Changelog's sections, in its order."""
CITATION_KEYS = {
    "required": {"cff-version", "message", "title", "authors"},
    "known": {"abstract", "date-released", "doi", "identifiers", "keywords", "license", "references", "type", "version"}
    | {"commit", "contact", "license-url", "preferred-citation", "repository", "repository-code", "url"},
}
"""Of the Citation File Format 1.2.0."""


def test_the_changelog_has_its_form_and_what_is_unreleased_comes_first() -> None:
    text = (PROJECT / "CHANGELOG.md").read_text()
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert heads[0] == "[Unreleased]"
    dates = []
    for head in heads[1:]:
        match = re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})", head)
        assert match, head
        dates.append(datetime.date.fromisoformat(match[2]))
    assert dates == sorted(dates, reverse=True)
    for version in text.split("\n## ")[1:]:
        sections = re.findall(r"^### (.*)$", version, re.MULTILINE)
        assert sections == [name for name in CHANGES if name in sections]
    assert len(heads) > 1 or META["version"] in text  # what the first release will be


def test_the_citation_has_its_form_and_says_what_the_package_says() -> None:
    cited = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert CITATION_KEYS["required"] <= set(cited) <= CITATION_KEYS["required"] | CITATION_KEYS["known"]
    assert cited["cff-version"] == "1.2.0"
    assert cited["type"] == "software"
    assert str(cited["version"]) == META["version"]
    assert cited["license"] == META["license"]
    assert cited["keywords"] == META["keywords"]
    for work in [cited, *cited["references"]]:
        assert work["title"]
        assert all(set(author) <= {"name", "family-names", "given-names"} for author in work["authors"])
        assert re.fullmatch(r"10\.\d{4,}/\S+", work.get("doi", "10.0000/x"))


def test_security_names_a_private_way_and_nobody_s_address() -> None:
    text = (PROJECT / "SECURITY.md").read_text()
    assert "Report a\nvulnerability" in text
    assert "docs/threat-model.md" in text
    assert "@" not in text


def test_the_readme_links_every_file_for_the_community() -> None:
    links = re.findall(r"\]\(([\w./-]+)\)", (PROJECT / "README.md").read_text())
    assert {"CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "CITATION.cff", "docs/supply-chain.md"} <= set(links)
