"""Records that are nearly the same, and held-out ones that are nearly the same as what is trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sealora_client.data.record import Record
from sealora_client.data_quality.near import near_groups
from sealora_client.data_report.chosen import ReadData
from sealora_client.data_report.notes import Notes, share
from sealora_client.data_report.report import Likeness


def likeness(data: ReadData, sample: Sequence[Record], similarity: float, notes: Notes) -> Likeness:
    """Near-duplicates among `sample`, which are records of both parts of `data`.

    Raises:
        MissingLibraryError: there is no library for it.
    """
    groups = near_groups(["\n".join(record.texts) for record in sample], similarity)
    counts = Counter(groups)
    trained = {id(record) for record in data.train}
    with_trained = {group for record, group in zip(sample, groups, strict=True) if id(record) in trained}
    held_out = [each for each in zip(sample, groups, strict=True) if id(each[0]) not in trained]
    leaked = [record for record, group in held_out if group in with_trained]
    firsts: dict[int, tuple[str, ...]] = {}
    near = []
    for record, group in zip(sample, groups, strict=True):
        if firsts.setdefault(group, record.texts) != record.texts:
            near.append(record)
    if near:
        notes.remarks.append(
            f"{data.path}: {share(len(near), len(sample))} are nearly the same as others ({data.listed(near)}): what "
            "is there often is learned by heart, so keep one of each (`sealora-site data clean --near`)"
        )
    if leaked:
        notes.remarks.append(
            f"{data.path}: {share(len(leaked), len(held_out))} that are held out are nearly the same as records "
            f"that are trained on ({data.listed(leaked)}), so that the held-out figure is better than it should be: "
            "split anew (`sealora-site data split`)"
        )
    return Likeness(
        looked_at=len(sample),
        similarity=similarity,
        repeated=len(sample) - len(counts),
        groups=sum(count > 1 for count in counts.values()),
        leaked=len(leaked),
    )
