"""A node that was told to come later finds the room of what nobody waits for any more."""

from __future__ import annotations

from fleet_bench import LIMITS, Answer, FleetBench

BYTES = 200_000


def largest(answer: Answer) -> str:
    """The name of the part that holds the payload."""
    return max(answer.parts, key=lambda name: len(answer.parts[name]))


def test_what_was_kept_for_a_run_that_ended_stands_in_the_way_once() -> None:
    bench = FleetBench(LIMITS.model_copy(update={"superlink_bytes": BYTES}))
    node, over = bench.node(), bench.run()
    first = bench.answer(node, over, bench.order(over, node), b"1" * (BYTES // 2))
    assert bench.push(node, first, [largest(first)]).status == 200
    assert bench.fleet.quotas.bytes > BYTES // 2
    assert bench.state.stop_run(over)
    going_on = bench.run()
    second = bench.answer(node, going_on, bench.order(going_on, node), b"2" * (BYTES // 2))
    statuses = [bench.push(node, second, [largest(second)]).status for _ in range(2)]
    assert statuses == [503, 200]
    assert bench.fleet.quotas.kept(node, over) == 0
    assert bench.fleet.quotas.kept(node, going_on) > BYTES // 2
