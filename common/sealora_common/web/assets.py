"""Style and script of the pages, under names that change with their content, so that a browser keeps them for good."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sealora_common.show.pages import page_templates
from sealora_common.web.guard import refusal

_KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
_DIGITS = 16
_FOR_GOOD = "public, max-age=31536000, immutable"
_PACKAGE = "sealora_common.web"


class Assets:
    """`style.css` (the reports' and the pages' own) and `live.js`."""

    def __init__(self) -> None:
        report = page_templates(_PACKAGE).get_template("report.css.j2").render()
        content = {
            "style.css": (report + _own("style.css")).encode(),
            "live.js": _own("live.js").encode(),
        }
        self._paths = {name: _path(name, data) for name, data in content.items()}
        self._served = {self._paths[name]: (data, _KINDS[name.rpartition(".")[2]]) for name, data in content.items()}

    def path(self, name: str) -> str:
        """Where `style.css` or `live.js` is asked."""
        return self._paths[name]

    def routes(self) -> list[Route]:
        """Of an application."""
        return [Route("/assets/{name}", self._answer)]

    async def _answer(self, request: Request) -> Response:
        found = self._served.get(request.url.path)
        if found is None:
            return refusal(404, "There is no such file: load the page again.")
        data, kind = found
        return Response(data, media_type=kind, headers={"Cache-Control": _FOR_GOOD})


def _own(name: str) -> str:
    with files(_PACKAGE).joinpath("assets", name).open("rb") as stream:
        return stream.read(-1).decode()


def _path(name: str, data: bytes) -> str:
    stem, _, kind = name.rpartition(".")
    return f"/assets/{stem}.{hashlib.sha256(data).hexdigest()[:_DIGITS]}.{kind}"
