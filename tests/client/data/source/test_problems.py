"""All that is wrong, told at once, and no more than a person reads."""

from __future__ import annotations

import pytest

from sealora_client.data.formats.kind import RowError
from sealora_client.data.records import read_records
from sealora_client.data.source.places import Places
from sealora_client.data.source.problems import DataProblemsError, Problems, sentences_of
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection


def problems(*errors: DataError) -> DataError | None:
    found = Problems(Places("a"))
    for error in errors:
        found.tell(error)
    assert len(found) == len(errors)
    try:
        found.raise_any()
    except DataError as error:
        return error
    return None


def row(line: int, reason: str) -> RowError:
    return RowError(f"a, line {line}", line, reason)


def test_nothing_wrong_is_no_error():
    assert problems() is None


def test_a_single_problem_is_told_as_it_is():
    one = row(3, "no good: mend it")
    assert problems(one) is one
    assert sentences_of(one) == ("a, line 3: no good: mend it",)


def test_problems_are_told_in_the_order_they_were_met_and_alike_ones_once():
    error = problems(row(3, "x"), row(4, "y"), row(9, "x"), DataError("b is gone"), row(12, "x"))
    assert isinstance(error, DataProblemsError)
    assert error.sentences == ("a, line 3: x (so too lines 9, 12)", "a, line 4: y", "b is gone")
    assert str(error) == "5 problems: " + "; ".join(error.sentences)


def test_many_of_a_kind_are_counted():
    error = problems(*[row(line, "x") for line in range(1, 50_001)])
    assert sentences_of(error) == ("a, line 1: x (so too lines 2, 3, 4, 5, 6 and 49994 more)",)


def test_reading_ends_where_nothing_is_sound(tmp_path):
    """Through readers that tell what they are told."""
    (tmp_path / "a.json").write_text("[" + "0," * 150_000 + "0]")
    with pytest.raises(DataProblemsError) as raised:
        read_records(tmp_path / "a.json", DataSection())
    told, last = raised.value.sentences
    assert "object 1: not a JSON object" in told
    assert told.endswith("and 99994 more)")
    assert last == "there reading ended: correct these first"


@pytest.mark.parametrize("count", [21, 25, 3000])
def test_of_many_kinds_twenty_are_told_and_the_rest_counted(count):
    error = problems(*[row(line, f"x{line}") for line in range(count)])
    assert len(sentences_of(error)) == 21
    assert sentences_of(error)[-1] == f"and {count - 20} more"


def test_what_does_not_fit_on_a_line_is_left_out_of_it_whole():
    error = problems(*[row(line, f"{line}" * 200) for line in range(20)])
    assert len(str(error)) <= 4000
    assert str(error).endswith("; and more")
    assert len(sentences_of(error)) == 20
