"""The report as one HTML page that needs nothing but itself: no network, no script, light or dark, on paper too."""

from __future__ import annotations

from pathlib import Path

from sealora_client.delivery.kept_run import KeptRun
from sealora_client.run_report.figures import RunAtSite, run_at_site
from sealora_common.recipe import Recipe
from sealora_common.records.names import REPORT, SUMMARY
from sealora_common.records.site_rounds import SiteHistory
from sealora_common.show import quantities
from sealora_common.show.chart import Chart, Series, line_chart
from sealora_common.show.pages import page_templates
from sealora_common.storage.durable import write_atomically
from sealora_common.viewers.picture import viewer_pictures
from sealora_common.viewers.viewers import viewers

_WRITERS = (
    "bytes_text",
    "count_text",
    "epsilon_text",
    "target_text",
    "time_text",
)


def write_run_report(directory: Path, run: str) -> RunAtSite:
    """Writes `summary.json` and `report.html`, for this account alone (mode 0600), where the site keeps the run.

    Args:
        directory: the site's.
        run: the run's id.

    Raises:
        PolicyError, StorageError: as for `run_at_site`, or a file could not be written.
    """
    found, kept = run_at_site(directory, run), KeptRun(directory, run)
    write_atomically(kept.directory / SUMMARY, found.model_dump_json(indent=2).encode() + b"\n")
    write_atomically(kept.directory / REPORT, run_page(found, kept.recipe).encode())
    return found


def run_page(found: RunAtSite, recipe: Recipe | None) -> str:
    """The page's HTML, of a run of `recipe`, without who sees what of it if that is None."""
    pages = page_templates("sealora_client.run_report")
    pages.globals.update({name: getattr(quantities, name) for name in _WRITERS})
    charts = [chart for chart in (_loss_chart(found), _epsilon_chart(found)) if chart is not None]
    return pages.get_template("run.html.j2").render(
        found=found,
        drawn=charts,
        who_sees_what=viewer_pictures(viewers(recipe, insecure=found.insecure)) if recipe is not None else (),
    )


def _loss_chart(found: RunAtSite) -> Chart | None:
    points = SiteHistory(found.site, found.by_round).losses
    if not points:
        return None
    return line_chart(
        identifier="loss",
        title=f"{found.heldout.title} at this site, exact; {found.heldout.better} is better",
        description=f"This site's own {found.heldout.name} by rounds trained, in {found.heldout.unit}.",
        series=[Series("this site", points, "federation")],
        rounds=found.rounds,
        label=found.heldout.text,
    )


def _epsilon_chart(found: RunAtSite) -> Chart | None:
    points = SiteHistory(found.site, found.by_round).epsilons
    if not points or found.policy_limit is None:
        return None
    return line_chart(
        identifier="epsilon",
        title="Epsilon spent on the training records, by all runs",
        description=f"By rounds trained; the policy allows {quantities.target_text(found.policy_limit)}.",
        series=[Series("spent", points, "federation")],
        rounds=found.rounds,
        label=quantities.epsilon_text,
        bound=found.policy_limit,
        bound_name=f"policy {quantities.target_text(found.policy_limit)}",
        from_zero=True,
    )
