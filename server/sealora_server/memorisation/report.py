"""A memorisation test as one HTML page that needs nothing but itself, in the audit's style."""

from __future__ import annotations

from sealora_common.show import quantities
from sealora_common.show.pages import page_templates
from sealora_server.memorisation import figure_text
from sealora_server.memorisation.chart import told_chart
from sealora_server.memorisation.conclusions import STRONGER
from sealora_server.memorisation.findings import BITES_FROM, Memorisation

_QUANTITIES = ("count_text", "time_text", "target_text")
_FIGURES = (
    "share_text",
    "share_range_text",
    "more_text",
    "bits_text",
    "auc_text",
    "true_positives_text",
    "allowed_text",
)


def render_memorisation(found: Memorisation, recipe_text: str) -> str:
    """The page.

    Args:
        found: what it tells.
        recipe_text: the recipe as YAML.
    """
    pages = page_templates("sealora_server.view")
    pages.globals.update({name: getattr(quantities, name) for name in _QUANTITIES})
    pages.globals.update({name: getattr(figure_text, name) for name in _FIGURES})
    return pages.get_template("memorisation.html.j2").render(
        found=found,
        chart=told_chart(found),
        attacks=figure_text.ATTACKS,
        bites_from=BITES_FROM,
        stronger=STRONGER,
        recipe_text=recipe_text,
    )
