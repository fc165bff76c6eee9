"""How the pages of docs/ become a site that needs nothing but itself: `make docs`."""

import re
from importlib.metadata import version as installed_version

from sphinx.application import Sphinx

project = "Sealora"
author = "The Sealora authors"
copyright = "The Sealora authors, Apache-2.0"
release = version = installed_version("sealora")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["notebooks/**"]
nitpicky = True

# Headings get the anchors that a forge gives them, so that one link works in both places.
myst_heading_anchors = 4

html_theme = "furo"
html_title = "Sealora"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_search_summary = False  # or a page opened from a disk would have to fetch its neighbours


def read_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Fits a page to the site: what lies outside docs/ is named, not linked, and the index becomes the tree.

    The tree is made of the index's sections and their links, so that these are written once, as Markdown.
    """
    source[0] = re.sub(r"\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", source[0])
    if name != "index":
        return
    for section in source[0].split("\n## ")[1:]:
        caption, pages = section.split("\n", 1)[0], re.findall(r"^- .*?\]\((\w[\w-]*)\.md\)", section, re.MULTILINE)
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", read_page)
