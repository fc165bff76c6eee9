"""The devices of a site: this process and its workers, which share each sample's sum out. See the room's own page."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.device import to_device
from sealora_client.training.clipped_groups import ClippedGroups, ClippingFigures, Group
from sealora_client.training.devices.messages import Begin, PieceSum, Prepare, Prepared, Share
from sealora_client.training.devices.worker_process import WorkerLostError, WorkerProcess
from sealora_client.training.gradients.batch_invariance import require_batch_invariant
from sealora_client.training.gradients.device_bits import bits_of_device
from sealora_common.errors import ModelError
from sealora_common.recipe import Recipe

STARTS = 4
"""Times that a worker is started before the site goes on without it."""
_TO_LOAD = 1800.0
"""Seconds that a worker may take to load the model and to try it."""
_PATIENCE = 60.0
_SLOWER = 10
"""Nobody's share is larger than this process's own, which took t seconds: a worker is waited for as long again, so many
times, and `_PATIENCE` more."""

log = logging.getLogger(__name__)


@dataclass
class _Place:
    """One of the further devices, and who works on it.

    Attributes:
        device: `cpu`, `cuda:1`, ...
        number: among all, from 1.
        worker: None where it was lost.
        is_ready: whether it has shown the bits that it should.
        begun: the round that it was told of last.
        starts: how often it was started.
        asked_at: when it was asked to prepare, on the monotonic clock.
    """

    device: str
    number: int
    worker: WorkerProcess | None = None
    is_ready: bool = False
    begun: Callable[[], ClippedGroups | None] = field(default=lambda: None)
    starts: int = 0
    asked_at: float = 0.0

    @property
    def name(self) -> str:
        return f"the worker on {self.device} (device {self.number + 1})"


class DeviceGroup:
    """All devices of a site. Whoever calls holds the model's lock.

    Args:
        model: on the first of the devices.
        devices: all of them, two or more; the first is this process's.
        patience: seconds that a worker may take beyond what its share should.

    Raises:
        ModelError: the model lies on another device than the first.
    """

    def __init__(self, model: AdaptedModel, devices: Sequence[str], patience: float = _PATIENCE) -> None:
        require_first(model, devices)
        self._model = model
        self._patience = patience
        self._places = [_Place(device, number) for number, device in enumerate(devices) if number]
        self._recipe: Recipe | None = None
        self._bits = b""
        self._threads_before = torch.get_num_threads()
        self._threads = self._threads_before
        if devices[0] == "cpu":
            self._threads = max(1, self._threads_before // len(devices))
        self._samples = 0

    @property
    def pids(self) -> list[int]:
        """Of the workers that there are."""
        return [place.worker.pid for place in self._places if place.worker is not None]

    def prepare(self, recipe: Recipe) -> None:
        """Has every device load the recipe's model and show that it computes the same bits as this one.

        Where all of that was done before, it starts workers that were lost, and waits for none.

        Raises:
            ModelError: a device cannot be used; there are no workers then.
        """
        if self._recipe is not None and self._recipe.hash == recipe.hash:
            self._look_after()
            return
        self._recipe = recipe
        torch.set_num_threads(self._threads)
        try:
            for place in self._places:
                place.starts = 0
                self._at_first(place, self._ask)
            require_batch_invariant(self._model, recipe)  # both meanwhile
            self._bits = bits_of_device(self._model, recipe)
            for place in self._places:
                self._at_first(place, self._greet)
        except BaseException:
            self.close()
            raise
        log.info("the site computes on %d devices", 1 + len(self._places))

    def add(self, own: ClippedGroups, groups: Sequence[Group], total: torch.Tensor) -> list[ClippingFigures]:
        """Adds the sum of all groups to `total` in place; the same bits as if `own` added one after the other.

        Returns:
            The figures of each group.

        Raises:
            ModelError: as for `ClippedGroups.add`.
        """
        self._look_after()
        self._samples += 1
        workers: list[_Place | None] = [None]
        if own.terms.recipe == self._recipe:  # what was not tried on all devices is done on this one
            workers += [place for place in self._places if place.is_ready]
        share_of = [range(first, len(groups), len(workers)) for first in range(len(workers))]
        for place, share in zip(workers, share_of, strict=True):
            if place is not None and share:
                self._send(place, own, [[groups[n] for n in piece] for piece in _pieces(own, share)])
        dealt = zip(workers, share_of, strict=True)
        pieces = [(piece, place) for place, share in dealt for piece in _pieces(own, share)]
        figures: dict[int, ClippingFigures] = {}
        longest = 0.0
        for piece, place in sorted(pieces, key=lambda each: each[0][0]):
            found = None if place is None else self._receive(place, self._patience + _SLOWER * longest)
            if found is not None:
                total += to_device(torch.from_numpy(found.total), total.device)
                figures.update(zip(piece, found.figures, strict=True))
                continue
            started = time.monotonic()
            own_figures = own.add_all([groups[number] for number in piece], total)  # waits, so that its time is told
            figures.update(zip(piece, own_figures, strict=True))
            longest = max(longest, time.monotonic() - started)
        return [figures[number] for number in range(len(groups))]

    def close(self) -> None:
        """Ends all workers. `prepare` starts them again."""
        for place in self._places:
            self._end(place)
        if self._recipe is not None:
            self._recipe = None
            torch.set_num_threads(self._threads_before)

    def forget(self) -> None:
        """In a process that was forked off this one: lets go of the workers, which are its parent's."""
        for place in self._places:
            if place.worker is not None:
                place.worker.forget()
            place.worker, place.is_ready = None, False

    def _at_first(self, place: _Place, step: Callable[[_Place], None]) -> None:
        try:
            step(place)
        except WorkerLostError as error:
            raise ModelError(
                f"site.yaml: devices: {place.name} {error}: mend that, or name fewer devices, or leave the line out"
            ) from None

    def _send(self, place: _Place, own: ClippedGroups, pieces: Sequence[Sequence[Group]]) -> None:
        assert place.worker is not None  # noqa: S101 (it is ready)
        trained = {}
        try:
            if place.begun() is not own:
                place.worker.tell(Begin(own.terms, self._model.read(self._model.layout.names)))
                place.begun = weakref.ref(own)
            else:
                trained = self._model.read(own.terms.layout.names)
            place.worker.tell(Share(self._samples, trained, pieces))
        except WorkerLostError as error:
            self._lose(place, error)

    def _receive(self, place: _Place, seconds: float) -> PieceSum | None:
        """None if there is no more to come from it."""
        if not place.is_ready or place.worker is None:
            return None
        ends = time.monotonic() + seconds
        try:
            while True:
                answer = place.worker.answer(max(0.0, ends - time.monotonic()))
                # What was left of a sample that an error ended is of no use.
                if isinstance(answer, PieceSum) and answer.number == self._samples:
                    return answer
        except WorkerLostError as error:
            self._lose(place, error)
            return None

    def _look_after(self) -> None:
        """Starts what was lost, and takes in what has become ready; waits for nothing."""
        for place in self._places if self._recipe is not None else ():
            try:
                if place.worker is None and place.starts < STARTS:
                    self._ask(place)
                elif place.worker is not None and not place.is_ready:
                    if place.worker.has_answer():
                        self._greet(place)
                        log.info("%s is at work again", place.name)
                    elif time.monotonic() > place.asked_at + _TO_LOAD:
                        raise WorkerLostError(f"was not ready after {_TO_LOAD:.0f} s")
            except WorkerLostError as error:
                self._lose(place, error)

    def _ask(self, place: _Place) -> None:
        """Starts a worker if there is none, and asks it to prepare."""
        assert self._recipe is not None  # noqa: S101 (whoever asks has set it)
        if place.worker is None:
            place.starts += 1
            place.worker = WorkerProcess(place.device, self._threads)
        place.is_ready, place.begun, place.asked_at = False, lambda: None, time.monotonic()
        place.worker.tell(Prepare(self._recipe))

    def _greet(self, place: _Place) -> None:
        """Takes a worker in once it has prepared."""
        assert place.worker is not None  # noqa: S101 (it was started)
        ends = place.asked_at + _TO_LOAD
        while not isinstance(answer := place.worker.answer(max(0.0, ends - time.monotonic())), Prepared):
            continue  # what was left of a sample that an error ended
        if answer.bits != self._bits:
            raise WorkerLostError(
                "computes other bits than the first device, so a record's gradient would depend on who else was drawn: "
                "name devices of one kind"
            )
        place.is_ready = True

    def _lose(self, place: _Place, error: WorkerLostError) -> None:
        process = "no process" if place.worker is None else f"process {place.worker.pid}"
        self._end(place)
        goes_on = (
            "it is started again" if place.starts < STARTS else "the site goes on without it: start the site again"
        )
        log.error(
            "devices: %s, %s, %s: what it had in hand is computed by the site's own process, and %s",
            place.name,
            process,
            error,
            goes_on,
        )

    def _end(self, place: _Place) -> None:
        if place.worker is not None:
            place.worker.end()
        place.worker, place.is_ready = None, False


def require_first(model: AdaptedModel, devices: Sequence[str]) -> None:
    """Refuses devices of which the first is not the model's.

    Raises:
        ModelError: it is not.
    """
    first = torch.device(devices[0])
    if (first.type, first.index or 0) != (model.device.type, model.device.index or 0):
        raise ModelError(
            f"site.yaml: devices: the first is {devices[0]}, but this process computes on {model.device}: name that "
            "one first"
        )


def _pieces(own: ClippedGroups, share: Sequence[int]) -> list[Sequence[int]]:
    """What of a share is summed up before it is sent: all of it, where the order does not matter."""
    if not share:
        return []
    return [share] if own.terms.is_exact else [[number] for number in share]
