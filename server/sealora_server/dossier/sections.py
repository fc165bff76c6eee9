"""What ran, on whose data, by what method, under what promise, and what was measured: each from its file."""

from __future__ import annotations

from sealora_common.dossier.figure import MOMENT, DossierSection, Figure
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.privacy.promise import NO_PROMISE, adversary_text, neighbours_text, promise_text
from sealora_server.dossier.run_evidence import RunEvidence

_SHOWN = 100
_ENDINGS = ("run_finished", "run_failed", "run_interrupted")
_TROUBLE = (
    ("site_failed", "site lost in a stage", "/site"),
    ("site_blamed", "site that broke the protocol", "/site"),
    ("sum_spoilt", "sites of a sum that did not add up", "/suspects"),
    ("round_aborted", "why an attempt was given up", "/reason"),
    ("run_failed", "why the run failed", "/reason"),
    ("operator_acted", "what a person asked of the server", "/action"),
)


def run_section(run: RunEvidence) -> DossierSection:
    """What ran, and how it ended."""
    events = run.events
    first, starts = 1, run.event_lines("run_started")
    figures = [
        events.line("name of the run", starts[-1], "/name"),
        run.run.field("identity of the run", "/run_id"),
        run.run.field("hash of its recipe", "/recipe_hash"),
        events.line("began", first, "/time", unit=MOMENT),
        events.line("rounds of the recipe", starts[-1], "/rounds", unit="rounds"),
        run.chain.worked_out("rounds finished", len(run.receipts), "its lines, one a round", unit="rounds"),
        *(events.line("seeded for a test", number, "/insecure") for number in _seeded(run)),
    ]
    if run.receipts:
        figures.append(
            run.chain.line("version of Sealora that ordered the last round", len(run.receipts), "/order/release")
        )
    for number in run.event_lines(*_ENDINGS)[-1:]:
        figures.append(events.line("last end of the run", number, "/event"))
        figures.append(events.line("at", number, "/time", unit=MOMENT))
    for number in run.event_lines("run_finished")[-1:]:
        figures.append(events.line("SHA-256 of the adapter's weights, as the run ended", number, "/adapter_sha256"))
        if events.has_line(number, "/kept_round"):
            figures.append(events.line("rounds that it was trained", number, "/kept_round", unit="rounds"))
    if run.adapter is not None:
        figures.append(
            run.adapter.worked_out("SHA-256 of the file with the weights", run.adapter.sha256, "of the whole file")
        )
    text = "" if run.adapter is not None else "There is no adapter: nothing is here that could leave."
    if run.recipe.continue_from is not None:
        figures.append(run.setting("SHA-256 of the values of the earlier adapter that it began with", "continue_from"))
    return DossierSection(identifier="run", title="What ran", text=(text,) if text else (), figures=tuple(figures))


def _seeded(run: RunEvidence) -> list[int]:
    """Lines of the starts that were seeded, or of the last start: one that was is enough, and is to be seen."""
    starts = [number for number in run.event_lines("run_started") if run.events.has_line(number, "/insecure")]
    seeded = [number for number in starts if run.events.line("seeded", number, "/insecure").value is True]
    return seeded or starts[-1:]


def data_section(run: RunEvidence) -> DossierSection:
    """Whose data, as far as a server knows: the rest is in the sites' parts."""
    figures = [
        run.members.field("consortium", "/consortium"),
        run.members.worked_out("sites of the roster", run.roster.names, "the names of its members"),
        run.setting("how records lie in the sites' files", "data.layout"),
        run.setting("most tokens of a record", "data.max_tokens", unit="tokens"),
        run.setting("field that tells persons apart", "data.person_field"),
    ]
    text = (
        "The records stayed at the sites, and so did every number that describes them. What a site says of its data, "
        "in its own words and figures, is in its part under sites/, signed by the site; the server has no say in it.",
    )
    return DossierSection(identifier="data", title="On whose data", text=text, figures=tuple(figures))


def model_section(run: RunEvidence, licence: str | None) -> DossierSection:
    """The base model, its licence, and what was trained on it."""
    figures = [
        run.setting("base model", "model.base"),
        run.setting("its revision", "model.revision"),
        run.setting("SHA-256 over its files", "model.digest"),
        run.setting("how its weights were held while training", "model.quantization"),
        run.setting("kind of adapter", "adapter"),
    ]
    if run.adapter is not None:
        figures.append(
            run.adapter.worked_out("size of the adapter", len(run.adapter.content), "of the file", unit="bytes")
        )
    if licence is None:
        said = (
            "The licence of the base model is told by none of the run's files. A site's part says what its copy of "
            "the model states. Whoever hands the adapter on must know it."
        )
    else:
        said = f"The operator states the base model's licence as {licence}. No file of the run says so."
    return DossierSection(identifier="model", title="Base model and licence", text=(said,), figures=tuple(figures))


def method_section(run: RunEvidence) -> DossierSection:
    """How it was trained and aggregated."""
    rows = (
        ("objective", "objective.kind", ""),
        ("optimiser at the sites", "training.optimizer", ""),
        ("learning rate", "training.learning_rate", ""),
        ("steps a round", "training.steps_per_round", "steps"),
        ("sampling rate q, Poisson", "training.sample_rate", "of a site's units, each step"),
        ("optimiser at the server", "server.optimizer", ""),
        ("weights of the sites in the mean", "sealing.weighting", ""),
        ("groups that are sealed apart", "sealing.groups", "groups"),
        ("fewest sites in a sum that is opened", "sealing.min_survivors", "sites"),
        ("server that the sealing withstands", "sealing.adversary", ""),
    )
    text = (
        "Each site trained an adapter on its own records; the server saw sealed sums of at least the stated number of "
        "sites and nothing of one site by itself. The base model was not changed.",
    )
    figures = tuple(run.setting(name, dotted, unit=unit) for name, dotted, unit in rows)
    return DossierSection(identifier="method", title="Method", text=text, figures=figures)


def privacy_section(run: RunEvidence) -> DossierSection:
    """The promise: epsilon and delta, for whom, against whom, and how it composes."""
    figures = [
        run.setting("mechanism", "privacy.mechanism"),
        run.setting("epsilon, of the whole run, for each site's data", "privacy.epsilon"),
        run.setting("delta", "privacy.delta"),
        run.setting("clipping norm C of a unit's contribution to a step", "privacy.clip_norm", unit="L2"),
        run.setting("how it is clipped", "privacy.clipping"),
        run.setting("most records of a person in one contribution", "privacy.records_per_person", unit="records"),
        run.setting("range to which a held-out figure is clipped", "privacy.heldout_clip"),
        run.setting("rounds that noise was calibrated for beyond the recipe's", "privacy.spare_rounds", unit="rounds"),
    ]
    if not mechanism_of(run.recipe).protects:
        text: tuple[str, ...] = (NO_PROMISE,)
        return DossierSection(identifier="privacy", title="The privacy promise", text=text, figures=tuple(figures[:1]))
    text = (
        promise_text(run.recipe),
        neighbours_text(run.recipe),
        f"Adversary: {adversary_text(run.recipe)}",
        "Composition: the figure is for all rounds, evaluations and spare rounds of this run together, by privacy-loss "
        "distributions. What earlier and later runs spent on the same records is composed by each site's ledger and "
        "told in its part. Who is in the data of several sites is promised less than the figure says: see the sites' "
        "parts for two sites.",
    )
    return DossierSection(identifier="privacy", title="The privacy promise", text=text, figures=tuple(figures))


def receipts_section(run: RunEvidence) -> DossierSection:
    """The receipts and what they prove."""
    figures: list[Figure] = [
        run.chain.worked_out(
            "rounds proven",
            len(run.proofs),
            "sealora_common.receipts.check, under the rosters in evidence/",
            unit="rounds",
        )
    ]
    for number, receipt in enumerate(run.receipts[:_SHOWN], start=1):
        figures.append(run.chain.line(f"sites in the sum of round {receipt.round_number}", number, "/survivors"))
    text = [
        run.broken
        or "Every receipt holds: the roster's server ordered each round, enough of its sites signed one session and "
        "one set of survivors, and each order follows from the receipt before.",
        "Receipts do not prove that the adapter was computed from the opened sums: nobody but the server saw that.",
    ]
    if len(run.receipts) > _SHOWN:
        text.append("Of so many rounds the first are shown; all are in evidence/receipts.jsonl.")
    return DossierSection(
        identifier="receipts", title="Receipts and their verification", text=tuple(text), figures=tuple(figures)
    )


def measured_section(run: RunEvidence) -> DossierSection:
    """The federation's held-out figures, as opened from sealed sums."""
    heldout, events = run.state.heldout, run.events
    noise = "mean over sites and their records, without noise"
    if run.state.is_private:
        noise = (
            f"Gaussian, added at each site and charged to its held-out {run.recipe.data.unit}s, each counted as no "
            "more than the range under the privacy promise; its size stands below, where the log has it"
        )
    figures = [
        events.line(f"{heldout.name}, {name}", number, f"/heldout_loss_{field}", unit=heldout.unit, noise=noise)
        for number in run.event_lines("run_finished")[-1:]
        for name, field in (("before", "before"), ("of the adapter that was kept", "after"))
    ]
    start = run.event_lines("run_started")[-1]
    if run.state.is_private and events.has_line(start, "/heldout_noise"):
        name = f"standard deviation of that noise, times a site's held-out {run.recipe.data.unit}s"
        figures.append(events.line(name, start, "/heldout_noise", unit=heldout.unit))
    text = (
        f"The federation's {heldout.name} on records that nobody trained on; {heldout.better} is better. It says how "
        "well the model fits data like the sites' and nothing of whether it is fit for a purpose.",
        "Audit: there is none in the server's part, for an audit describes one site's records exactly. Which sites' "
        "parts hold one stands under the parts.",
        "Subgroups: nothing was measured apart for groups of people in the server's part. Whom the model serves worse "
        "at a site, that site's part says if it ran `sealora-site evaluate --by`.",
    )
    return DossierSection(identifier="measured", title="What was measured", text=text, figures=tuple(figures))


def trouble_section(run: RunEvidence) -> DossierSection:
    """What went wrong on the way, and who acted."""
    figures = [
        run.events.line(f"{name}, event {number}", number, field)
        for kind, name, field in _TROUBLE
        for number in run.event_lines(kind)[:_SHOWN]
    ]
    text = ["Nothing went wrong, and nobody acted on the run." if not figures else "As the server's log tells it."]
    if any(len(run.event_lines(kind)) > _SHOWN for kind, _, _ in _TROUBLE):
        text.append("Of events of one kind the first are shown; all are in evidence/events.jsonl.")
    return DossierSection(
        identifier="trouble", title="What happened on the way", text=tuple(text), figures=tuple(figures)
    )
