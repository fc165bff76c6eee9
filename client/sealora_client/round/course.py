"""What a run asks of this site, for its operator: which run, what is done, how long it takes, what leaves, what that
costs and what is left of the budget, and that it is over.

It is the site's own log. Nothing here travels, and nothing is told of a record, not even how many there are.
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import suppress

from flwr.app import ConfigRecord, Context
from pydantic import BaseModel, ConfigDict

from sealora_client.operator.at_work import AtWork
from sealora_client.round.run_id import RUN_ID
from sealora_client.site.directory import Site
from sealora_common.config import SMALL, from_json
from sealora_common.errors import SealoraError
from sealora_common.health.logs import fields
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.round.order import Purpose, RoundOrder
from sealora_common.show.duration_text import duration_text
from sealora_common.show.size_text import traffic_text

SHOWN_ID = 12
"""Letters of a run's id that are shown, here and at the server."""

_COURSE = "sealora-course"
_RUN = "sealora-run"
_OF_NO_ROUND = ("hello", "held", "deliver")

log = logging.getLogger(__name__)


class Course(BaseModel):
    """Where this site is in a run. A value: it is kept in memory between two stages.

    Attributes:
        run: the run's id.
        recipe: the recipe's name.
        rounds: of the recipe.
        round: the round at hand.
        purpose: to train, or to evaluate what came of all rounds.
        joined: the first round of the run that this process was in.
        joined_at: when that began, monotonic seconds.
        began_at: when the round at hand began.
        spent: part of the site's data -> epsilon spent of it before, by all runs; empty where nothing is accounted.
    """

    model_config = ConfigDict(frozen=True)

    run: str
    recipe: str
    rounds: int
    round: int
    purpose: Purpose
    joined: int
    joined_at: float
    began_at: float
    spent: dict[str, float]

    @classmethod
    def begin(cls, site: Site, order: RoundOrder, former: Course | None) -> Course:
        """A round has been ordered.

        Args:
            site: this site.
            order: the order, its signature checked; it may yet be refused.
            former: where the site was before.
        """
        now = time.monotonic()
        same = former is not None and former.run == order.run
        course = cls(
            run=order.run,
            recipe=site.recipe.name,
            rounds=site.recipe.rounds,
            round=order.round_number,
            purpose=order.purpose,
            joined=former.joined if same and former else order.round_number,
            joined_at=former.joined_at if same and former else now,
            began_at=now,
            spent=_spent(site),
        )
        course._say(f"ordered to {'evaluate the final adapter' if course._is_last else 'train'}{course._left(now)}")
        return course

    def at_work(self, stage: str) -> AtWork:
        """What is told of a stage that begins now."""
        now, done = time.time(), self.round - self.joined
        return AtWork(
            run=self.run,
            recipe=self.recipe,
            rounds=self.rounds,
            round=self.round,
            purpose=self.purpose,
            stage=stage,
            stage_began=now,
            round_began=now - (time.monotonic() - self.began_at),
            round_seconds=(self.began_at - self.joined_at) / done if done > 0 else None,
        )

    @property
    def where(self) -> str:
        """`run 0123456789ab (recipe), round 2 of 4`."""
        place = "the final evaluation" if self._is_last else f"round {self.round} of {self.rounds}"
        return f"{run_text(self.run, self.recipe)}, {place}"

    def worked(self) -> None:
        """The work is done; of its result nothing has left."""
        took = duration_text(time.monotonic() - self.began_at)
        done = "evaluated" if self._is_last else "trained"
        self._say(f"{done} in {took}; no result has left this site yet, the other sites are waited for")

    def leaves(self, site: Site, size: int) -> Course:
        """The sealed vector leaves now: what it costs, and what is left."""
        what = "the sealed figures leave" if self._is_last else "the sealed update leaves"
        spent = _spent(site)
        self._say(f"{what} this site, {traffic_text(size)}; {_cost(site, self.spent, spent)}", bytes=size)
        return self.model_copy(update={"spent": spent})

    def finished(self, sent: int, received: int) -> None:
        """The round is over as far as this site knows."""
        took = duration_text(time.monotonic() - self.began_at)
        traffic = f"{traffic_text(sent)} sent and {traffic_text(received)} received in all"
        self._say(f"finished in {took}, {traffic}", sent=sent, received=received)
        if self._is_last:
            log.info(
                "%s: finished: this site has no part in it any more, and waits for the next run",
                run_text(self.run, self.recipe),
                extra=fields(run=self.run),
            )

    @property
    def _is_last(self) -> bool:
        return self.purpose == "evaluate"

    def _left(self, now: float) -> str:
        """How long the run will go on, from what its rounds took; the other sites' time is among it."""
        if self._is_last:
            return ""
        done = self.round - self.joined
        if done <= 0:
            return "; how long a round takes is known after this one"
        left = (now - self.joined_at) / done * (self.rounds - self.round + 1)
        return f"; the run will take about {duration_text(left)} more"

    def _say(self, said: str, **more: int | float | None) -> None:
        log.info("%s: %s", self.where, said, extra=fields(run=self.run, round=self.round, **more))


def course_of(context: Context) -> Course | None:
    """Where the site is in a run, as `note_course` kept it."""
    kept = context.state.config_records.get(_COURSE)
    return None if kept is None else from_json(Course, bytes(kept[_COURSE]), SMALL)  # type: ignore[arg-type]


def note_course(context: Context, course: Course | None) -> None:
    """Keeps it from one stage to the next."""
    context.state.pop(_COURSE, None)
    if course is not None:
        context.state[_COURSE] = ConfigRecord({_COURSE: course.model_dump_json().encode()})


def place_of(context: Context, stage: str) -> tuple[str | None, int | None]:
    """The run's id and the round that a message of this stage is of, as far as it is of any."""
    course = course_of(context)
    if course is not None and stage not in _OF_NO_ROUND:
        return course.run, course.round
    kept = context.state.config_records.get(_RUN)
    return (None if kept is None else str(kept[_RUN])), None


def note_run(context: Context, run: str) -> None:
    """Keeps which run is spoken of besides rounds, if that is a run's id: a server may write anything."""
    if RUN_ID.fullmatch(run):
        context.state[_RUN] = ConfigRecord({_RUN: run})


def run_text(run: str, recipe: str) -> str:
    """A run as the site's log names it."""
    return f"run {run[:SHOWN_ID]} ({recipe})"


def _spent(site: Site) -> dict[str, float]:
    """What each part of the site's data has spent; nothing where none is accounted, or nobody reads it."""
    if not (log.isEnabledFor(logging.INFO) and mechanism_of(site.recipe).protects):
        return {}
    with suppress(SealoraError), site.ledger() as ledger:  # what is wrong with it is said by whoever charges it
        sets = {"training": site.data.train_set, "held-out": site.data.heldout_set}
        return {part: ledger.spent(dataset, site.recipe.privacy.delta) for part, dataset in sets.items()}
    return {}


def _cost(site: Site, before: dict[str, float], after: dict[str, float]) -> str:
    if not mechanism_of(site.recipe).protects:
        return "the run has no differential privacy, so nothing bounds what it tells"
    if not before or not after:
        return "what it cost is in the ledger: `sealora-site budget`"
    limit = site.policy.epsilon_limit
    parts = [
        f"of the {part} records epsilon {_up(spent)} (this time {_up(max(0.0, spent - before[part]))})"
        for part, spent in after.items()
    ]
    left = max(0.0, limit - max(after.values()))
    return (
        f"spent by now, by all runs together: {' and '.join(parts)}; {math.floor(left * 100) / 100:.2f} is left of the "
        f"policy's {limit:g}"
    )


def _up(epsilon: float) -> str:
    """Never less than was spent."""
    return f"{math.ceil(epsilon * 100 - 1e-9) / 100:.2f}"
