"""A worker process: sums what the site's process sends it. See the room's own page, `devices`.

It has two pipes and the base model's files, and none of the site's; it draws nothing, and speaks to nobody else.
"""

from __future__ import annotations

import os
import queue
import resource
import signal
import sys
import threading
from typing import TYPE_CHECKING

from sealora_client.training.devices.channel import Channel, ChannelClosedError

if TYPE_CHECKING:
    from sealora_client.model.adapted import AdaptedModel
    from sealora_client.training.clipped_groups import ClippedGroups
    from sealora_client.training.devices.messages import Begin, PieceSum, Share
    from sealora_common.recipe import Recipe


def main() -> None:
    """Works until the site's process closes its pipe, or ends. Arguments: a device, and threads of the CPU."""
    device, threads = sys.argv[1], int(sys.argv[2])
    # Both are for the site's process, which closes the pipe when it has ended its own work.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold records
    channel = Channel(os.dup(0), os.dup(1))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)  # what a library prints is no message
    asked: queue.SimpleQueue[object] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(channel, asked), daemon=True).start()

    import torch

    from sealora_client.model.device import choose_training_device

    torch.set_num_threads(threads)
    choose_training_device(device)
    work = _Work(channel)
    while True:
        work.do(asked.get())


def _listen(channel: Channel, asked: queue.SimpleQueue[object]) -> None:
    """Takes messages as they come, and ends this process with the pipe, whatever it is at."""
    while True:
        try:
            asked.put(channel.receive(None))
        except ChannelClosedError:
            os._exit(0)


class _Work:
    """What a worker has in hand.

    Args:
        channel: to the site's process.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._model: AdaptedModel | None = None
        self._groups: ClippedGroups | None = None

    def do(self, asked: object) -> None:
        """Does what a message asks for, and answers it."""
        import torch

        from sealora_client.training.devices.messages import Begin, Failed, Prepare, Prepared, Share
        from sealora_common.errors import SealoraError

        try:
            match asked:
                case Prepare(recipe):
                    self._answer(Prepared(self._prepare(recipe)))
                case Begin():
                    self._begin(asked)
                case Share():
                    for piece in range(len(asked.pieces)):
                        self._answer(self._sum(asked, piece))
        except SealoraError as error:
            self._answer(Failed(str(error)))
        except (torch.OutOfMemoryError, MemoryError):
            self._answer(Failed("its memory is too small"))
        except Exception as error:  # the kind alone: what it says may quote what was computed
            self._answer(Failed(type(error).__name__))

    def _prepare(self, recipe: Recipe) -> bytes:
        from sealora_client.model.adapted import adapted_model
        from sealora_client.training.gradients.batch_invariance import require_batch_invariant
        from sealora_client.training.gradients.device_bits import bits_of_device

        self._leave()
        self._model = adapted_model(recipe)
        require_batch_invariant(self._model, recipe)
        return bits_of_device(self._model, recipe)

    def _begin(self, begun: Begin) -> None:
        from sealora_client.training.clipped_groups import ClippedGroups

        self._leave()
        assert self._model is not None  # noqa: S101 (it was prepared first)
        self._model.write(begun.adapter)
        self._groups = ClippedGroups(self._model, begun.terms).__enter__()

    def _sum(self, share: Share, piece: int) -> PieceSum:
        from sealora_client.training.devices.messages import PieceSum

        groups = self._groups
        assert groups is not None  # noqa: S101 (the round was begun first)
        if piece == 0:
            groups.model.write(share.trained)
        total = groups.zeros()
        figures = groups.add_all(share.pieces[piece], total)
        found = total.cpu().numpy()
        return PieceSum(share.number, figures, found.astype("int64") if groups.terms.is_exact else found)

    def _leave(self) -> None:
        if self._groups is not None:
            self._groups.__exit__(None, None, None)
            self._groups = None

    def _answer(self, message: object) -> None:
        try:
            self._channel.send(message, None)
        except ChannelClosedError:
            os._exit(0)


if __name__ == "__main__":
    main()
