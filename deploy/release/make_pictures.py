"""The pictures in docs/pictures, made again from what real runs wrote: `make pictures RUN=... WORTH=...`.

PICTURES is the list of them: a picture is parts of one page at one width. A page that is a file is made anew of its
run, by this version; one that is served (a dashboard) is named with `--page NAME=URL` while it is, and where it wants a
token, the token's file with `--token NAME=FILE`. A picture whose page was not given stays as it is, and is named.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sealora_common.config import LARGE, from_json, read_file, why_not
from sealora_common.errors import SealoraError, UnreadableError
from sealora_common.web.token_file import token_of
from sealora_server.comparison.comparing import JSON
from sealora_server.comparison.comparison import Comparison
from sealora_server.comparison.report import render_comparison
from sealora_server.view.report import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
MARGIN = 10
LIVE_MS = 2000  # until a page that lives has what it says first


@dataclass(frozen=True)
class Picture:
    """One file of the folder.

    Attributes:
        name: of the file, without `.png`.
        page: which page it is of: `run`, `comparison`, or a name that `--page` gives.
        width: of the window, in CSS pixels.
        parts: CSS selectors; the picture is the least rectangle around all of them.
        dark: whether the page is asked for in dark.
    """

    name: str
    page: str
    width: int
    parts: tuple[str, ...]
    dark: bool = False


PICTURES = (
    Picture("demo", "run", 1080, ("header", "[aria-labelledby=learning]", "section[aria-labelledby=sites] .card.wide")),
    Picture("who-sees-what", "run", 1080, ("[aria-labelledby=viewers] figure",)),
    Picture("comparison", "comparison", 1080, ("[aria-labelledby=arms-head] figure",)),
    Picture("dashboard", "dashboard", 1080, ("header.top", "main > section:nth-of-type(2)")),
    Picture("site", "site", 1080, ("header.top", "main section:has-text('How it was spent')")),
)


def pages(run: Path | None, comparison: Path | None, served: dict[str, str], scratch: Path) -> dict[str, str]:
    """The URL of each page that there is, by its name.

    Raises:
        SealoraError: a directory is none of a run, or of a comparison.
    """
    found = dict(served)
    if run is not None:
        found["run"] = write_report(shutil.copytree(run, scratch / "run")).as_uri()
    if comparison is not None:
        try:
            told = from_json(Comparison, read_file(comparison / JSON, LARGE.longest), LARGE)
        except (OSError, UnreadableError) as error:
            raise SealoraError(f"{comparison / JSON}: {why_not(error)}: give what `compare --out` wrote") from None
        page = scratch / "comparison.html"
        page.write_text(render_comparison(told, ""), encoding="utf-8")
        found["comparison"] = page.as_uri()
    return found


def log_in(page: Page, token: Path) -> None:
    """Logs in with what is in a file, on the page that asks for it.

    Raises:
        SealoraError: the file holds no token.
    """
    page.fill("#token", token_of(token))
    with page.expect_navigation():
        page.click("main button[type=submit]")


def draw(found: dict[str, str], tokens: dict[str, Path], folder: Path) -> list[str]:
    """Draws the pictures whose pages there are into `folder`, and returns the names of the others."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise SealoraError(f"no browser: install one of {', '.join(PROGRAMS)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for picture in PICTURES:
            if picture.page not in found:
                continue
            page = browser.new_page(
                viewport={"width": picture.width, "height": 900}, color_scheme="dark" if picture.dark else "light"
            )
            page.goto(found[picture.page])
            if picture.page in tokens:
                log_in(page, tokens[picture.page])
                page.goto(found[picture.page])
                page.wait_for_timeout(LIVE_MS)
            boxes = []
            for part in picture.parts:
                box = page.locator(part).first.bounding_box()
                if box is None:
                    raise SealoraError(f"{picture.name}: the page has no {part}")
                boxes.append(box)
            left, top = max(0, min(box["x"] for box in boxes) - MARGIN), max(0, min(box["y"] for box in boxes) - MARGIN)
            right = min(picture.width, max(box["x"] + box["width"] for box in boxes) + MARGIN)
            bottom = max(box["y"] + box["height"] for box in boxes) + MARGIN
            drawn = folder / f"{picture.name}.png"
            page.screenshot(
                path=drawn, full_page=True, clip={"x": left, "y": top, "width": right - left, "height": bottom - top}
            )
            Image.open(drawn).convert("RGB").quantize(256).save(drawn, optimize=True)  # a third of the bytes
            page.close()
        browser.close()
    return [picture.name for picture in PICTURES if picture.page not in found]


def main() -> int:
    """Reads the command line; 1 where a picture could not be made."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--run", type=Path, help="a finished simulation of the demo's recipe")
    asked.add_argument("--comparison", type=Path, help="what `sealora compare --out` wrote of the same recipe")
    asked.add_argument("--page", action="append", default=[], metavar="NAME=URL", help="a page that is being served")
    asked.add_argument("--token", action="append", default=[], metavar="NAME=FILE", help="what logs in there")
    asked.add_argument("--out", type=Path, default=FOLDER)
    given = asked.parse_args()
    served = dict(each.split("=", 1) for each in given.page)
    tokens = {name: Path(file) for name, file in (each.split("=", 1) for each in given.token)}
    try:
        with tempfile.TemporaryDirectory() as scratch:
            left = draw(pages(given.run, given.comparison, served, Path(scratch)), tokens, given.out)
    except SealoraError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for name in left:
        print(f"{name}.png stays as it is: its page was not given")
    return 0


if __name__ == "__main__":
    sys.exit(main())
