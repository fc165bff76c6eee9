"""How much there is: records, units of privacy, characters, how often each label is said, and what is no use."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from sealora_client.data.example import Unusable
from sealora_client.data.load import UNUSABLE_REASONS, against_recipe
from sealora_client.data.record import Record
from sealora_client.data_report.chosen import ReadData
from sealora_client.data_report.notes import Notes, share
from sealora_client.data_report.report import Heap, HeapSize, LabelTally, Lengths, Spread, Tally
from sealora_common.recipe import Recipe
from sealora_common.recipe.sections.data import DataSection

_RARE = 0.2  # of the records that a label would have if all had as many
_FEW_HELD_OUT = 30
_VERDICTS = {True: "wanted", False: "unwanted"}


def sizes(data: ReadData, notes: Notes) -> tuple[HeapSize, ...]:
    """Of both parts, and of what is evaluated of the second."""
    if len(data.heldout) < _FEW_HELD_OUT:
        notes.remarks.append(
            f"{data.path}: only {len(data.heldout)} records are held out, so that a figure of theirs says little: hold "
            "out more (data.heldout_fraction, or `sealora-site data split`)"
        )
    heaps: tuple[tuple[Heap, Sequence[Record]], ...] = (
        ("training", data.train),
        ("held out", data.heldout),
        ("evaluated", data.evaluated),
    )
    return tuple(_size(heap, records) for heap, records in heaps)


def _size(heap: Heap, records: Sequence[Record]) -> HeapSize:
    persons = Counter(record.person for record in records if record.person is not None)
    spread = Spread.of(persons.values())
    return HeapSize(heap=heap, records=len(records), units=len(persons) or len(records), records_of_unit=spread)


def lengths(data: ReadData) -> Iterator[Lengths]:
    """In characters, of what is given and of what is learned."""
    records = data.both
    given = Spread.of(sum(map(len, record.given)) for record in records if any(record.given))
    if given is not None:
        yield Lengths(of="characters of prompts", spread=given)
    learned = Spread.of(len(record.response) for record in records)
    if learned is not None:
        yield Lengths(of="characters of responses", spread=learned)
    turns = Spread.of(len(record.earlier) + 2 for record in records if record.earlier)
    if turns is not None:
        yield Lengths(of="turns of conversations", spread=turns)


def copies(data: ReadData) -> int:
    """How many records are exact copies of ones before them."""
    return len(data.both) - len({record.texts for record in data.both})


def labels(data: ReadData, section: DataSection, notes: Notes) -> tuple[LabelTally, ...]:
    """How often each label is given, the most frequent first; none but with the layouts `labelled` and `feedback`.

    A label that the recipe does not name is text of a record, and goes by its rank.
    """
    if section.layout not in ("labelled", "feedback"):
        return ()
    train, heldout = (Counter(map(_label, part)) for part in (data.train, data.heldout))
    known = list(_VERDICTS.values()) if section.layout == "feedback" else list(dict.fromkeys(section.labels.values()))
    ranked = sorted({*train, *heldout, *known}, key=lambda label: (-train[label] - heldout[label], label))
    tallies = tuple(
        LabelTally(name=label if label in known else f"label {rank}", training=train[label], heldout=heldout[label])
        for rank, label in enumerate(ranked, 1)
    )
    rare = [tally.name for tally in tallies if tally.training * len(tallies) < _RARE * len(data.train)]
    if rare and len(tallies) > 1:
        notes.remarks.append(
            f"{data.path}: {_names(rare)} make up little of the training records, and may never be said: add records "
            "of them, or weight them in the recipe"
        )
    unmeasured = [tally.name for tally in tallies if not tally.heldout]
    if unmeasured and len(tallies) > 1:
        notes.remarks.append(
            f"{data.path}: {_names(unmeasured)} are in no held-out record, and so not measured: split by label "
            "(`sealora-site data split --stratify`)"
        )
    if len(tallies) == 1:
        notes.remarks.append(f"{data.path}: {share(len(data.both), len(data.both))} have the same label: add others")
    return tallies


def _label(record: Record) -> str:
    return record.response if record.wanted is None else _VERDICTS[record.wanted]


def _names(names: Sequence[str]) -> str:
    named = ", ".join(names[:5])
    return f"{named} and {len(names) - 5} more labels" if len(names) > 5 else f"labels {named}"


def lines_against_recipe(data: ReadData, recipe: Recipe) -> Mapping[Unusable, Sequence[int]]:
    """Lines of the records that the recipe's own rules leave nothing of, by why: all that is known without a model."""
    found: dict[Unusable, list[int]] = defaultdict(list)
    for record in data.both:
        if (reason := against_recipe(record, recipe)) is not None:
            found[reason].append(record.line)
    return found


def unusable(data: ReadData, by_reason: Mapping[Unusable, Sequence[int]], notes: Notes) -> tuple[Tally, ...]:
    """How many there are of each kind; each is a remark, and a problem if there is nothing else."""
    for reason, lines in by_reason.items():
        notes.remarks.append(
            f"{data.path}: {share(len(lines), len(data.both))} teach and measure nothing, as "
            f"{UNUSABLE_REASONS[reason]} ({data.listed(lines)}): correct or drop them"
        )
    if sum(map(len, by_reason.values())) == len(data.both):
        notes.problems.append(
            f"{data.path}: none of the records can be shown to the model: use a base model whose tokenizer and chat "
            "template take such text, or correct the records"
        )
    return tuple(Tally(name=UNUSABLE_REASONS[reason], records=len(lines)) for reason, lines in by_reason.items())
