"""The site's ClientApp: one handler a stage. Runs under Sealora's own loop, a stock SuperNode or a simulation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from sealora_client.budget.admission import admit
from sealora_client.delivery.take import Delivered, holding, take_delivery
from sealora_client.operator.at_work import tell_work
from sealora_client.round.between_stages import Remembered, forget, recall, remember
from sealora_client.round.closed_runs import require_open
from sealora_client.round.course import Course, course_of, note_course, note_run, run_text
from sealora_client.round.history import History, Told
from sealora_client.round.participation import Participation, RoundState
from sealora_client.round.run_id import RUN_ID
from sealora_client.site.directory import Site, open_site
from sealora_common.adapter import adapter_kind
from sealora_common.config import LARGE, from_json
from sealora_common.errors import OrderRefusedError, SealoraError
from sealora_common.receipts.conclusion import Conclusion
from sealora_common.records.names import PARTITION, SITE_DIRECTORY
from sealora_common.round.hello import Hello
from sealora_common.round.order import RoundOrder
from sealora_common.round.wire_format import (
    ADAPTER,
    ARRAYS,
    CONCLUSION,
    CONFIG,
    ERROR,
    LAYOUT,
    MASKED,
    ORDER,
    ORDER_SIGNATURE,
    PAYLOAD,
    RECEIPTS,
    RECIPE_HASH,
    ROSTERS,
    RUN,
    content_bytes,
    field,
    float32_array,
)
from sealora_common.simulated_sites import simulated_sites_directory

_GREETED = "sealora-greeted"
_NOT_TOLD = "the site takes no part in this; its own log says why"
"""All that the server is told of an error that was not written to travel. Its kind would be a word too."""

log = logging.getLogger(__name__)
app = ClientApp()

Handler = Callable[[Message, Context, Site], RecordDict]


@app.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Says who this site is and which adapter its base model takes."""

    def handle(message: Message, context: Context, site: Site) -> RecordDict:
        site.prepare()
        asked, named = field(message.content, RECIPE_HASH), field(message.content, RUN)
        run = named.decode("ascii", "replace") if isinstance(named, bytes) else None
        note_run(context, run or "")
        # A server that runs another recipe is told so by the answer; this site's budget is judged for its own alone.
        is_agreed = asked in (None, site.recipe.hash.encode())
        if is_agreed:
            require_open(site.directory, run or "")
            admit(site, run)
        layout = site.model().layout
        site.policy.check_size(adapter_kind(site.recipe).shared(layout).size)
        greeting = Hello(
            site=site.name,
            recipe_hash=site.recipe.hash,
            roster_hash=site.roster.hash.hex(),
            layout=layout.to_json(),
            receipts=History(site.directory, run).count if run is not None and RUN_ID.fullmatch(run) else 0,
        )
        if context.state.get(_GREETED) is None:  # it is asked again in each round
            context.state[_GREETED] = ConfigRecord({})
            said = "this site does" if is_agreed else "it has another recipe than this site, which takes no part"
            log.info("%s: who takes part is asked: %s", run_text(run or "", site.recipe.name), said)
        return _payload(greeting.to_bytes())

    return _answer(message, context, handle)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Trains a round; the answer says only that the site is ready, and carries its keys."""
    return _answer(message, context, _begin)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Evaluates the global adapter; the loss leaves only inside a sealed sum."""
    return _answer(message, context, _begin)


@app.query("share")
def share(message: Message, context: Context) -> Message:
    """Shares this site's secrets of the round among its peers."""
    return _answer(message, context, _stage(lambda part, payload: _payload(part.share(payload))))


@app.query("check")
def check(message: Message, context: Context) -> Message:
    """Checks what the peers shared with this site, before anything of it leaves."""
    return _answer(message, context, _stage(lambda part, payload: _payload(part.check(payload))))


@app.query("disclose")
def disclose(message: Message, context: Context) -> Message:
    """Answers complaints of what this site shared."""
    return _answer(message, context, _stage(lambda part, payload: _payload(part.disclose(payload))))


@app.query("mask")
def mask(message: Message, context: Context) -> Message:
    """Sends the masked vector."""
    return _answer(message, context, _stage(lambda part, payload: _masked(part.mask(payload)), leaves=True))


@app.query("confirm")
def confirm(message: Message, context: Context) -> Message:
    """Signs the survivors."""
    return _answer(message, context, _stage(lambda part, payload: _payload(part.confirm(payload))))


@app.query("open")
def open_sum(message: Message, context: Context) -> Message:
    """Releases the shares that open the sum."""
    return _answer(message, context, _stage(lambda part, payload: _payload(part.open(payload)), last=True))


@app.query("held")
def held(message: Message, context: Context) -> Message:
    """Says what this site has of a run that is over."""

    def handle(message: Message, context: Context, site: Site) -> RecordDict:
        run = _bytes(message, RUN).decode("ascii", "replace")
        note_run(context, run)
        return _payload(holding(site, run).to_bytes())

    return _answer(message, context, handle)


@app.query("deliver")
def deliver(message: Message, context: Context) -> Message:
    """Takes the adapter that a run ended with; the answer says what this site has then."""

    def handle(message: Message, context: Context, site: Site) -> RecordDict:
        adapter = float32_array(message.content, ADAPTER)
        if adapter is None:
            raise OrderRefusedError("what was delivered holds no float32 adapter: it was refused")
        conclusion = Conclusion.parse(_bytes(message, CONCLUSION))
        note_run(context, conclusion.run)
        delivered = Delivered(conclusion, _bytes(message, LAYOUT), adapter, _told(message, site))
        return _payload(take_delivery(site, delivered).to_bytes())

    return _answer(message, context, handle)


def _begin(message: Message, context: Context, site: Site) -> RecordDict:
    former = course_of(context)
    note_course(context, None)
    signature = field(message.content, ORDER_SIGNATURE)
    signed = signature if isinstance(signature, bytes) else b""
    order = RoundOrder.parse_signed(_bytes(message, ORDER), signed, site.roster.server_key)
    # An order ends the round before it, also one that is refused: nothing may leave of one round under another's name.
    forget(context)
    expected = "train" if order.purpose == "train" else "evaluate"
    if message.metadata.message_type != expected:
        raise OrderRefusedError(f"an order to {order.purpose} came as {message.metadata.message_type}: it was refused")
    adapter = float32_array(message.content, ADAPTER)
    if adapter is None:
        raise OrderRefusedError("the order carries no float32 adapter: server and site must run the same version")
    told = _told(message, site)
    site.prepare()
    course = Course.begin(site, order, former)
    note_course(context, course)
    _tell_work(context, site, message)
    part, advertisement = Participation.begin(site, order, adapter.astype(np.float32), told)
    course.worked()
    content = _payload(advertisement)
    _remember(context, site, part, content_bytes(content), content_bytes(message.content))
    return content


def _stage(work: Callable[[Participation, bytes], RecordDict], *, leaves: bool = False, last: bool = False) -> Handler:
    def handle(message: Message, context: Context, site: Site) -> RecordDict:
        # Forgotten before the work: a stage that fails half-way is not tried again with the same secrets.
        kept = recall(context, site.directory)
        if kept is None:
            raise OrderRefusedError(
                "this site is in no round: it was restarted or the order came twice; order the round anew"
            )
        _tell_work(context, site, message)
        part = Participation(site, from_json(RoundState, kept.round, LARGE), kept.encoded)
        content = work(part, _bytes(message, PAYLOAD))
        up = kept.bytes_up + content_bytes(content)
        down = kept.bytes_down + content_bytes(message.content)
        course = course_of(context)
        if last:
            part.finish(bytes_up=up, bytes_down=down)
            if course is not None:
                course.finished(up, down)
        else:
            _remember(context, site, part, up, down)
            if course is not None and leaves:
                note_course(context, course.leaves(site, content_bytes(content)))
        return content

    return handle


def _remember(context: Context, site: Site, part: Participation, up: int, down: int) -> None:
    round_state = part.state.model_dump_json().encode()
    remember(context, site.directory, Remembered(round_state, part.encoded, bytes_up=up, bytes_down=down))


def _tell_work(context: Context, site: Site, message: Message) -> None:
    """Tells this site's operator which stage begins. A simulation has hundreds of sites, and nobody looks there."""
    course = course_of(context)
    if course is not None and PARTITION not in context.node_config:
        tell_work(site.directory, course.at_work(_action(message)))


def _action(message: Message) -> str:
    return message.metadata.message_type.removeprefix("query.")


def _place(message: Message, context: Context) -> str:
    """What a refusal is of, for the log."""
    action, course = _action(message), course_of(context)
    return action if action == "hello" or course is None else f"{course.where}: {action}"


def _answer(message: Message, context: Context, handle: Handler) -> Message:
    """Runs a handler. What was written to travel travels; of all else the server learns that there was an error."""
    said = _NOT_TOLD
    try:
        return Message(handle(message, context, open_site(_site_directory(context))), reply_to=message)
    except SealoraError as error:
        log.warning("%s was refused: %s", _place(message, context), error)
        if error.travels:
            said = str(error)
    except Exception:
        log.exception("%s failed", _place(message, context))
    return Message(RecordDict({CONFIG: ConfigRecord({ERROR: said})}), reply_to=message)


def _site_directory(context: Context) -> Path:
    named = context.node_config.get(SITE_DIRECTORY)
    if named is not None:
        return Path(str(named))
    partition = context.node_config.get(PARTITION)
    if partition is None:
        raise OrderRefusedError(
            f"this node's configuration has no {SITE_DIRECTORY!r}: start it with the site's directory"
        )
    directories = sorted(path.parent for path in simulated_sites_directory().glob("*/site.yaml"))
    if not int(partition) < len(directories):
        raise OrderRefusedError(
            f"this simulation has {len(directories)} sites, node {partition} is one too many: start as many nodes as "
            "the recipe names sites (num-supernodes)"
        )
    return directories[int(partition)]


def _told(message: Message, site: Site) -> Told:
    rosters = field(message.content, ROSTERS)
    return Told.parse(
        _bytes(message, RECEIPTS),
        rosters if isinstance(rosters, bytes) else b"",
        coordinator=site.roster.coordinator_pin,
    )


def _bytes(message: Message, key: str) -> bytes:
    value = field(message.content, key)
    if not isinstance(value, bytes):
        raise OrderRefusedError(f"a message of the server lacks its {key}: server and site must run the same version")
    return value


def _payload(payload: bytes) -> RecordDict:
    return RecordDict({CONFIG: ConfigRecord({PAYLOAD: payload})})


def _masked(message: bytes) -> RecordDict:
    # As an array, so that Flower carries it in chunks.
    return RecordDict({ARRAYS: ArrayRecord({MASKED: Array(np.frombuffer(message, dtype=np.uint8))})})
