"""A site's log: its operator reads which run it is, what is done, what left, what it cost, and when it is over."""

from __future__ import annotations

import logging
import re

import pytest

from sealora_client.round.course import Course
from sealora_server.run.store import RunStore

from tiny_federation import PRIVATE, run_inline, write_federation

ROUNDS = 2


@pytest.fixture(scope="module", params=["local", "none"])
def told(request, tiny_base, tmp_path_factory):
    """The recipe's mechanism, the run, and what the three sites said."""
    directory = tmp_path_factory.mktemp("course")
    privacy = {**PRIVATE, "delta": 1e-4} if request.param == "local" else {"mechanism": "none"}
    recipe = write_federation(directory, tiny_base(), rounds=ROUNDS, privacy=privacy)
    caught: list[logging.LogRecord] = []
    handler, logger = logging.Handler(), logging.getLogger("sealora_client")
    handler.emit = caught.append
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        run = run_inline(recipe, directory / "run")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    return request.param, run, [record.getMessage() for record in caught if "run " in record.getMessage()]


def test_every_line_names_the_run_and_the_round_of_those_there_are(told):
    _, run, lines = told
    named = f"run {RunStore.open(run).run_id[:12]} (tiny)"
    assert lines
    for line in lines:
        assert re.match(rf"{re.escape(named)}(, (round [12] of 2|the final evaluation))?: ", line), line


def test_a_round_is_told_from_its_order_to_its_end(told):
    mechanism, _, lines = told
    second = [line.partition(": ")[2] for line in lines if ", round 2 of 2: " in line]
    for start in (
        r"ordered to train; the run will take about .* more$",
        r"trained in .*; no result has left this site yet, the other sites are waited for$",
        r"the sealed update leaves this site, \d+(\.\d)? k?B; ",
        r"finished in .*, .*B sent and .*B received in all$",
    ):
        assert sum(bool(re.match(start, line)) for line in second) == 3, (start, second)
    assert len(second) == 12
    (left,) = {re.sub(r"[\d.]+", "N", line) for line in second if "leaves" in line}
    if mechanism == "none":
        assert left.endswith("; the run has no differential privacy, so nothing bounds what it tells")
    else:
        assert "of the training records epsilon N (this time N) and of the held-out records epsilon N" in left
        assert left.endswith(" is left of the policy's N")
    first = [
        line for line in lines if ", round 1 of 2: ordered to train; how long a round takes is known after" in line
    ]
    assert len(first) == 3


def test_the_end_is_told_and_that_the_last_evaluation_is_no_round(told):
    _, _, lines = told
    assert not any("round 3" in line for line in lines)
    assert sum("the final evaluation: the sealed figures leave this site" in line for line in lines) == 3
    assert lines[-1].endswith(": finished: this site has no part in it any more, and waits for the next run")
    assert sum(line.endswith("who takes part is asked: this site does") for line in lines) == 3


def test_what_is_spent_grows_and_what_is_left_is_the_rest_of_the_policy_s(told):
    mechanism, _, lines = told
    if mechanism == "none":
        pytest.skip("nothing is accounted")
    figures = [
        tuple(map(float, found))
        for line in lines
        for found in re.findall(
            r"training records epsilon ([\d.]+) \(this time ([\d.]+)\).*?; ([\d.]+) is left of the policy's ([\d.]+)$",
            line,
        )
    ]
    assert len(figures) == 3 * (ROUNDS + 1)
    per_site = figures[::3]
    spent = [figure[0] for figure in per_site]
    assert spent == sorted(spent)
    assert per_site[0][1] > 0
    assert per_site[-1][1] == 0.0  # the last evaluation is of other records
    assert all(0 <= left < limit for _, _, left, limit in figures)


def test_a_course_of_another_run_begins_anew_and_its_times_are_not_mixed_up():
    course = Course(
        run="ab" * 16, recipe="r", rounds=9, round=4, purpose="train", joined=2, joined_at=0.0, began_at=0.0, spent={}
    )
    assert course._left(60.0) == "; the run will take about 3 min 00 s more"
    assert course.model_copy(update={"round": 2})._left(60.0) == "; how long a round takes is known after this one"
    assert course.model_copy(update={"purpose": "evaluate", "round": 10})._left(60.0) == ""
    assert course.where == "run abababababab (r), round 4 of 9"
    assert course.model_copy(update={"purpose": "evaluate"}).where == "run abababababab (r), the final evaluation"
