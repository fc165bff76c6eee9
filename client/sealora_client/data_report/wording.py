"""What the texts are like: their languages, what looks damaged in them, and personal data that has a pattern."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from sealora_client.data.record import Record
from sealora_client.data_quality.damage import DAMAGES, Damage, damages, is_mojibake
from sealora_client.data_quality.language import UNCLEAR, language_of
from sealora_client.data_quality.personal import PersonalPatterns
from sealora_client.data_report.chosen import ReadData
from sealora_client.data_report.notes import Notes, share
from sealora_client.data_report.report import DamageTally, Personal, PersonalTally, Tally

_STRAY = 0.02
_MEND: dict[Damage, str] = {
    "mojibake": "mend it (`sealora-site data clean --mojibake`), and read the file in its own encoding next time",
    "replacement characters": "characters are lost there, so export the data anew, in UTF-8",
    "control characters": "export the data anew, or drop the records",
    "invisible characters": "take them out where nobody meant them",
    "not in NFC": "write letters with their accents in one character (`sealora-site data clean --normalize`)",
}


def languages(data: ReadData, sample: Sequence[Record], notes: Notes) -> tuple[Tally, ...]:
    """In which language how many records are, the most frequent first.

    Raises:
        MissingLibraryError: there is no library for it.
    """
    told = [language_of("\n".join(record.texts)) for record in sample]
    counts = Counter(told)
    stray = {code for code, count in counts.items() if code != UNCLEAR and count < _STRAY * len(sample)}
    strays = [record for record, code in zip(sample, told, strict=True) if code in stray]
    if strays:
        notes.remarks.append(
            f"{data.path}: {share(len(strays), len(sample))} seem to be in a language that few others are in "
            f"({data.listed(strays)}): look whether they belong here (`sealora-site data clean --language`)"
        )
    return tuple(Tally(name=code, records=count) for code, count in counts.most_common())


def damage(data: ReadData, notes: Notes) -> tuple[DamageTally, ...]:
    """How many records look damaged in each way."""
    found: dict[Damage, list[Record]] = defaultdict(list)
    with notes.or_left_out():
        found["mojibake"] = [record for record in data.both if any(map(is_mojibake, record.texts))]
    for record in data.both:
        for kind in set[Damage]().union(*map(damages, record.texts)):
            found[kind].append(record)
    tallies = [DamageTally(damage=kind, records=len(found[kind])) for kind in DAMAGES if found[kind]]
    for tally in tallies:
        notes.remarks.append(
            f"{data.path}: {share(tally.records, len(data.both))} have {_worded(tally.damage)} "
            f"({data.listed(found[tally.damage])}): {_MEND[tally.damage]}"
        )
    return tuple(tallies)


def personal(data: ReadData, sample: Sequence[Record], patterns: PersonalPatterns, notes: Notes) -> Personal:
    """Personal data by kind and count."""
    places: Counter[str] = Counter()
    records: dict[str, list[Record]] = defaultdict(list)
    for record in sample:
        kinds = Counter(span.kind for text in record.texts for span in patterns.find(text))
        places += kinds
        for kind in kinds:
            records[kind].append(record)
    for kind, count in places.most_common():
        notes.remarks.append(
            f"{data.path}: {share(len(records[kind]), len(sample))} have what looks like {kind}, {count} in all "
            f"({data.listed(records[kind])}): look whether a model may learn it, or replace it "
            f"(`sealora-site data clean --redact {kind}`)"
        )
    return Personal(
        looked_at=len(sample),
        looked_for=patterns.kinds,
        found=tuple(
            PersonalTally(kind=kind, records=len(records[kind]), places=count) for kind, count in places.most_common()
        ),
    )


def _worded(kind: Damage) -> str:
    return "letters in Unicode's decomposed form" if kind == "not in NFC" else kind
