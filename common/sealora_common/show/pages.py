"""Pages of HTML that need nothing but themselves: from whose templates they are made, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def page_templates(package: str, *more: str) -> Environment:
    """The templates in the folders `templates` of these packages, and those that all pages share: style, charts as SVG.

    What a page shows is text that others wrote (names, reasons, answers of a model): all of it is escaped.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loaders = [PackageLoader(each, "templates") for each in (package, *more, "sealora_common.show")]
    return Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
