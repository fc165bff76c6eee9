"""A comparison as one HTML page that needs nothing but itself, in the run report's style."""

from __future__ import annotations

from sealora_common.show import quantities
from sealora_common.show.pages import page_templates
from sealora_server.comparison import difference_text
from sealora_server.comparison.chart import STYLES, forest_plot
from sealora_server.comparison.comparison import Comparison

_QUANTITIES = ("count_text", "time_text", "target_text")
_DIFFERENCES = ("difference_text", "reach_text", "spread_text", "share_of_way_text")


def render_comparison(comparison: Comparison, recipe_text: str) -> str:
    """The page.

    Args:
        comparison: what it tells.
        recipe_text: the recipe as YAML.
    """
    pages = page_templates("sealora_server.view")
    pages.globals.update({name: getattr(quantities, name) for name in _QUANTITIES})
    pages.globals.update({name: getattr(difference_text, name) for name in _DIFFERENCES})
    return pages.get_template("comparison.html.j2").render(
        found=comparison, chart=forest_plot(comparison), styles=STYLES, recipe_text=recipe_text
    )
