"""A step's noise drawn while something else computes: the same bits, once, and gone with the step."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from sealora_client.training.noise.meanwhile import NoiseToTake, noise_meanwhile
from sealora_client.training.noise.rounded_gaussian import rounded_gaussian
from sealora_client.training.noise.skellam import skellam
from sealora_common.entropy import Entropy, SeededEntropy

Draw = Callable[[Entropy], NDArray[np.int64]]


def gaussian(entropy: Entropy) -> NDArray[np.int64]:
    return rounded_gaussian(entropy, 40_000, 2.0**24)


def shared(entropy: Entropy) -> NDArray[np.int64]:
    return skellam(entropy, 40_000, 2.0**24)


def of_a_table(entropy: Entropy) -> NDArray[np.int64]:
    return skellam(entropy, 40_000, 300.0)


def drawing_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("noise")]


@pytest.mark.parametrize("draw", [gaussian, shared, of_a_table])
def test_the_bits_are_those_of_drawing_at_once_and_so_is_what_is_drawn_next(draw: Draw) -> None:
    at_once, meanwhile = SeededEntropy("noise"), SeededEntropy("noise")
    for _ in range(3):
        before, also_before = at_once.bytes(40), meanwhile.bytes(40)
        expected = draw(at_once)
        with noise_meanwhile(draw, meanwhile) as noise:
            found = noise.take()
        assert before == also_before
        assert np.array_equal(found, expected)
    assert at_once.bytes(32) == meanwhile.bytes(32)


def test_the_key_is_taken_here_and_before_the_body_and_only_it() -> None:
    asked: list[tuple[int, str]] = []

    class Watched:
        def bytes(self, count: int, /) -> bytes:
            asked.append((count, threading.current_thread().name))
            return bytes(range(count))

    drawn_in: list[str] = []

    def draw(entropy: Entropy) -> NDArray[np.int64]:
        drawn_in.append(threading.current_thread().name)
        return gaussian(entropy)

    with noise_meanwhile(draw, Watched()) as noise:
        assert asked == [(32, threading.current_thread().name)]
        noise.take()
    assert len(asked) == 1
    assert drawn_in != [threading.current_thread().name]


def test_it_is_drawn_while_the_body_runs() -> None:
    drawn = threading.Event()

    def draw(entropy: Entropy) -> NDArray[np.int64]:
        found = gaussian(entropy)
        drawn.set()
        return found

    with noise_meanwhile(draw, SeededEntropy("noise")):
        assert drawn.wait(60)


def test_it_is_given_out_once() -> None:
    with noise_meanwhile(gaussian, SeededEntropy("noise")) as noise:
        noise.take()
        with pytest.raises(RuntimeError, match="twice"):
            noise.take()


def test_noise_that_nobody_took_is_gone_with_its_step() -> None:
    with noise_meanwhile(gaussian, SeededEntropy("noise")) as noise:
        pass
    with pytest.raises(RuntimeError, match="after its step"):
        noise.take()
    assert drawing_threads() == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_a_step_that_fails_drops_it_and_leaves_no_thread(error: type[BaseException]) -> None:
    held: list[NoiseToTake] = []

    def step() -> None:
        with noise_meanwhile(gaussian, SeededEntropy("noise")) as noise:
            held.append(noise)
            raise error

    with pytest.raises(error):
        step()
    with pytest.raises(RuntimeError, match="after its step"):
        held[0].take()
    assert drawing_threads() == []


def test_what_fails_in_drawing_fails_the_step() -> None:
    def failing(entropy: Entropy) -> NDArray[np.int64]:
        raise MemoryError("no room for noise")

    with pytest.raises(MemoryError, match="no room"), noise_meanwhile(failing, SeededEntropy("noise")) as noise:
        noise.take()


@pytest.mark.parametrize("counts", [(32, 32), (16,), (64,), (32, 1)])
def test_noise_that_asks_for_more_than_its_one_key_is_refused(counts: tuple[int, ...]) -> None:
    """What it takes besides would be taken out of order."""

    def greedy(entropy: Entropy) -> NDArray[np.int64]:
        return np.array([len(entropy.bytes(count)) for count in counts])

    with pytest.raises(RuntimeError, match="one key"), noise_meanwhile(greedy, SeededEntropy("noise")) as noise:
        noise.take()
