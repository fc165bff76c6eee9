"""HTML from a package's templates and the ones that all pages share, with the style and script that go with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from markupsafe import Markup
from starlette.responses import HTMLResponse

from sealora_common.show.pages import page_templates
from sealora_common.show.safe_text import safe_text
from sealora_common.web.assets import Assets

_SHARED = "sealora_common.web"


class Pages:
    """Makes pages.

    Templates extend `base.html.j2`, whose blocks say what a page is to fill in. All text is escaped, and passes
    `safe_text`, wherever it comes from. Beside their own values they know:

    - `product`, `nav`: what the base page shows (`nav`: pairs of path and text);
    - `asset(name)`: the path of a style or script;
    - `moment(seconds)`: Unix seconds as a `<time>` that the reader's browser shows in its own zone.

    Args:
        package: which has its templates in the folder `templates`.
        product: what the pages are of, in a few words.
        nav: the pages that every page leads to: path and text.
    """

    def __init__(self, package: str, product: str, nav: tuple[tuple[str, str], ...] = ()) -> None:
        self.assets = Assets()
        self._environment = page_templates(package, _SHARED)
        self._environment.finalize = _safe
        self._environment.globals |= {
            "product": product,
            "nav": nav,
            "asset": self.assets.path,
            "moment": moment,
            "session": None,
            "live": "",
        }

    def add_globals(self, values: Mapping[str, object]) -> None:
        """What all of its templates know besides."""
        self._environment.globals |= values

    def text(self, template: str, **values: object) -> str:
        """What a template comes to."""
        return self._environment.get_template(template).render(**values)

    def response(self, template: str, status: int = 200, **values: object) -> HTMLResponse:
        """A page; `session` among the values shows who is logged in, and how to log out."""
        return HTMLResponse(self.text(template, **values), status_code=status)


def moment(seconds: float) -> Markup:
    """Unix seconds as HTML's `<time>`, in UTC for those whose browser runs no script."""
    when = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        when.isoformat(timespec="seconds"), when.strftime("%Y-%m-%d %H:%M:%S")
    )


def _safe(value: object) -> object:
    return safe_text(value, lines=True) if type(value) is str else value
