"""A tuning as one HTML page that needs nothing but itself, in the run report's style."""

from __future__ import annotations

from sealora_common.show import quantities
from sealora_common.show.pages import page_templates
from sealora_server.tuning.chart import trials_chart
from sealora_server.tuning.result import TuningResult
from sealora_server.tuning.words import column_names, column_texts


def render_tuning(found: TuningResult, recipe_text: str) -> str:
    """The page.

    Args:
        found: what it tells.
        recipe_text: the recipe that was tuned, as YAML.
    """
    pages = page_templates("sealora_server.view")
    pages.globals.update({name: getattr(quantities, name) for name in ("count_text", "epsilon_text", "target_text")})
    pages.globals.update(column_names=column_names, column_texts=column_texts)
    template = pages.get_template("tuning.html.j2")
    return template.render(found=found, chart=trials_chart(found), recipe_text=recipe_text)
