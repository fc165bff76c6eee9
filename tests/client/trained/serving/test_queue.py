"""One answer at a time, so many waiting and no more, and none for somebody who has left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from sealora_client.data.record import Turn
from sealora_client.model.generate import Continuation, Hear, Sampling
from sealora_client.trained.serving.queue import MOST_WAITING, AnswerBegun, BusyError, ModelQueue
from sealora_client.trained.serving.requests import Inquiry
from sealora_common.errors import DataError, ModelError

INQUIRY = Inquiry((Turn("user", "hello"),), 8, None, ())


class SlowAnswers:
    """Goes on with `word ` for ever, or until nobody listens."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.at_work = 0
        self.most_at_work = 0
        self.answered = 0

    def asked(self, turns: Sequence[Turn]) -> list[int]:
        if turns[-1].text == "broken":
            raise DataError("the template fails")
        return [1, 2, 3]

    def go_on(self, tokens: Sequence[int], most: int, sampling: Sampling | None, hear: Hear) -> Continuation:
        assert tokens == [1, 2, 3]
        if most == 0:
            raise RuntimeError("CUDA: record 17 says fever")
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self.answered += 1
        text = ""
        while True:
            text += "word "
            self.go.wait(0.01)
            if not hear(text) or self.go.is_set():
                break
        self.at_work -= 1
        return Continuation(text.strip(), 5, False)


def test_one_is_answered_at_a_time_and_a_bounded_number_waits():
    async def scene() -> None:
        answers = SlowAnswers()
        queue = ModelQueue(answers)

        async def whole() -> list[object]:
            return [what async for what in queue.ask(INQUIRY) if what is not None]

        asking = [asyncio.create_task(whole()) for _ in range(1 + MOST_WAITING)]
        await asyncio.sleep(0.1)
        with pytest.raises(BusyError, match="wait already: ask again later"):
            await whole()
        answers.go.set()
        for told in await asyncio.gather(*asking):
            assert told[0] == AnswerBegun(3)
            assert "".join(told[1:-1]) == told[-1].text
        assert (answers.most_at_work, answers.answered) == (1, 1 + MOST_WAITING)
        assert [type(what) for what in await whole()][-1] is Continuation  # there is room again
        queue.close()

    asyncio.run(scene())


def test_whoever_leaves_is_answered_no_further_and_if_still_waiting_not_at_all():
    async def scene() -> None:
        answers = SlowAnswers()
        queue = ModelQueue(answers)
        first, second = queue.ask(INQUIRY), queue.ask(INQUIRY)
        assert await anext(first) == AnswerBegun(3)
        waiting = asyncio.create_task(anext(second))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await second.aclose()
        await first.aclose()
        await asyncio.to_thread(queue.close)  # comes back although nobody let the answer go on
        assert answers.answered == 1

    asyncio.run(asyncio.wait_for(scene(), 20))


@pytest.mark.parametrize(
    ("inquiry", "error", "said"),
    [
        (Inquiry((Turn("user", "broken"),), 8, None, ()), DataError, "the template fails"),
        (Inquiry((Turn("user", "hello"),), 0, None, ()), ModelError, "the model failed on this"),
    ],
)
def test_what_goes_wrong_reaches_whoever_asked_and_nobody_else(inquiry, error, said, caplog):
    async def scene() -> None:
        answers = SlowAnswers()
        answers.go.set()
        queue = ModelQueue(answers)
        with pytest.raises(error, match=said):
            [what async for what in queue.ask(inquiry)]
        assert [what async for what in queue.ask(INQUIRY)]
        queue.close()

    asyncio.run(scene())
    assert "fever" not in caplog.text
