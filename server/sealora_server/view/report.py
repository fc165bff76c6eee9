"""A run as one HTML page that needs nothing but itself: no network, no script, light or dark, on paper too."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from sealora_common.config import CONFIGURATION, read_file
from sealora_common.errors import RecipeError, UnreadableError
from sealora_common.recipe import Recipe, parse_recipe
from sealora_common.records.completions import read_completions
from sealora_common.records.names import REPORT
from sealora_common.records.run_state import RunState
from sealora_common.records.site_rounds import Curve, SiteHistory
from sealora_common.show import quantities
from sealora_common.show.chart import Chart, Series, bar_chart, line_chart
from sealora_common.show.pages import page_templates
from sealora_common.show.safe_text import safe_text
from sealora_common.storage.durable import write_atomically
from sealora_server.view.histories import federation_curve, read_histories
from sealora_server.view.site_only import read_site_only
from sealora_server.view.summary import Summary, read_state, summary_of

_COLOURS = 8
_FEDERATION = "Federation (mean)"


def write_report(run_dir: Path, epsilon_at_two_sites: float | None = None) -> Path:
    """Writes `report.html` into the run directory and returns its path.

    Args:
        run_dir: of the run.
        epsilon_at_two_sites: what the run promises somebody whom two sites hold; None if nobody worked it out.

    Raises:
        StorageError: there is no run there, or the file could not be written.
    """
    path = run_dir / REPORT
    write_atomically(path, render_report(run_dir, epsilon_at_two_sites).encode())
    return path


def render_report(run_dir: Path, epsilon_at_two_sites: float | None = None) -> str:
    """The page for the run at `run_dir`, as far as the run has come; see `write_report`.

    Raises:
        StorageError: there is no run there.
    """
    state, histories = read_state(run_dir), read_histories(run_dir)
    site_only = read_site_only(run_dir)
    summary = summary_of(state, histories, site_only)
    curve = federation_curve(state, histories)
    recipe_text, recipe = _read_recipe(run_dir / "recipe.yaml")
    spent = max((site.epsilon for site in summary.sites if site.epsilon is not None), default=None)
    pages = page_templates("sealora_server.view")
    pages.globals.update({name: getattr(quantities, name) for name in _WRITERS})
    return pages.get_template("report.html.j2").render(
        summary=summary,
        recipe=recipe,
        recipe_text=recipe_text,
        completions=read_completions(run_dir),
        started_at=f"{datetime.fromtimestamp(state.first_at, UTC):%d %b %Y, %H:%M} UTC",
        simulated=bool(histories),
        epsilon_spent=spent,
        epsilon_at_two_sites=epsilon_at_two_sites,
        failure=safe_text(state.failure),
        unit=recipe.data.unit if recipe is not None else "record",
        factor=_factor_text(spent if spent is not None else summary.epsilon),
        curve=curve,
        site_only=site_only,
        loss_chart=_loss_chart(summary, histories, curve),
        epsilon_chart=_epsilon_chart(summary, histories),
        bytes_chart=_bytes_chart(summary, histories, state),
        loss_table=_loss_table(summary, histories, curve),
    )


_WRITERS = (
    "bytes_text",
    "change_text",
    "count_text",
    "epochs_text",
    "time_text",
    "epsilon_text",
    "names_text",
    "target_text",
)


def _read_recipe(path: Path) -> tuple[str, Recipe | None]:
    """The recipe as written and, where this version can read it, as understood."""
    try:
        text = read_file(path, CONFIGURATION.longest).decode(errors="replace")
    except (OSError, UnreadableError):
        return "", None
    try:
        return text, parse_recipe(text)
    except RecipeError:
        return text, None


def _site_styles(summary: Summary) -> dict[str, str]:
    """CSS class of each site's curve; beyond a few sites colours tell nothing and all are alike."""
    if len(summary.sites) > _COLOURS:
        return {site.name: "many" for site in summary.sites}
    return {site.name: f"site-{index}" for index, site in enumerate(summary.sites)}


def _loss_chart(summary: Summary, histories: Mapping[str, SiteHistory], curve: Curve) -> Chart | None:
    styles = _site_styles(summary)
    series = [Series(name, histories[name].losses, styles[name]) for name in styles if name in histories]
    series.append(Series(_FEDERATION, curve, "federation"))
    if not any(one.points for one in series):
        return None
    description = f"{summary.heldout.title} by rounds trained; {summary.heldout.better} is better."
    if len(curve) > 1:
        description += (
            f" The federation's mean goes from {summary.heldout.text(curve[0][1])} after "
            f"{quantities.count_text(curve[0][0], 'round')} to {summary.heldout.text(curve[-1][1])} after "
            f"{quantities.count_text(curve[-1][0], 'round')}."
        )
    return line_chart(
        identifier="loss",
        title=summary.heldout.title,
        description=description,
        series=series,
        rounds=summary.rounds,
        label=summary.heldout.text,
    )


def _epsilon_chart(summary: Summary, histories: Mapping[str, SiteHistory]) -> Chart | None:
    styles = _site_styles(summary)
    series = [
        Series(name, ((0, 0.0), *histories[name].epsilons), styles[name])
        for name in styles
        if name in histories and histories[name].epsilons
    ]
    if not series or summary.epsilon is None:
        return None
    most = max(one.points[-1][1] for one in series)
    if len({one.points for one in series}) == 1:  # curves that hide one another: say so instead
        series = [Series("every site alike", series[0].points, "federation")]
    return line_chart(
        identifier="epsilon",
        title="Epsilon spent",
        description=(
            f"Epsilon each site has spent by rounds trained; the most at the end is "
            f"{quantities.epsilon_text(most)}, the budget is {quantities.target_text(summary.epsilon)}."
        ),
        series=series,
        rounds=summary.rounds,
        label=quantities.epsilon_text,
        bound=summary.epsilon,
        bound_name=f"budget {quantities.target_text(summary.epsilon)}",
        from_zero=True,
    )


def _bytes_chart(summary: Summary, histories: Mapping[str, SiteHistory], state: RunState) -> Chart | None:
    moved: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    for number, up, down in _transfers(histories, state):
        moved[number][0] += up
        moved[number][1] += down
    if not moved:
        return None
    groups = [("final" if number > state.rounds else str(number), amounts) for number, amounts in sorted(moved.items())]
    return bar_chart(
        identifier="bytes",
        title="Bytes per round, all sites together",
        description=(
            f"Bytes the sites sent and received in each round; in all "
            f"{quantities.bytes_text(summary.bytes_up)} sent and "
            f"{quantities.bytes_text(summary.bytes_down)} received."
        ),
        groups=groups,
        styles=(("sent", "up"), ("received", "down")),
        label=lambda amount: quantities.bytes_text(round(amount)),
    )


def _transfers(histories: Mapping[str, SiteHistory], state: RunState) -> list[tuple[int, int, int]]:
    """(round, bytes up, bytes down): the sites' own count where there is one, else the server's."""
    if histories:
        lines = (line for history in histories.values() for line in history.rounds)
        return [(line.round, line.bytes_up, line.bytes_down) for line in lines]
    return [(number, count.up, count.down) for number, count in state.bytes_of_rounds.items()]


def _loss_table(summary: Summary, histories: Mapping[str, SiteHistory], curve: Curve) -> list[tuple[str, list[str]]]:
    """The loss chart's figures: the name and the loss after 0, 1, ... rounds."""
    rows = [(name, histories[name].losses) for name in _site_styles(summary) if name in histories]
    rows.append((_FEDERATION, curve))
    trained = range(summary.rounds + 1)
    return [(name, [summary.heldout.text(dict(points).get(n)) for n in trained]) for name, points in rows]


def _factor_text(epsilon: float | None) -> str:
    """e to the epsilon with two digits, in words a person can place."""
    if epsilon is None:
        return quantities.MISSING
    if epsilon > 20:
        return f"10^{math.floor(epsilon / math.log(10))}"
    factor = math.exp(epsilon)
    return f"{factor:.2f}" if factor < 10 else f"{float(f'{factor:.2g}'):,.0f}"
