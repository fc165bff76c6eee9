"""The shapes of micro-batches: functions of the recipe and of each record alone, never of what else was drawn.

Kernels for 16-bit numbers are not batch-invariant: how many rows a product has, and how long they are, decides in
which order it is summed, and so how it is rounded. Were a micro-batch as long as its longest record, or as tall as
what is left of a Poisson sample, then one record more would move the gradients of others in their last bits, and the
clipped sum by more than the clipping norm. So every micro-batch has the same number of rows, filled up with dummies,
and a length that follows from a record's own number of tokens; records of other lengths go into other micro-batches.
The output layer is given a fixed number of positions at a time (see `loss`). What is left to show is that a kernel
gives a row the same bits wherever in such a shape it stands: `training.batch_invariance` asks the loaded model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sealora_client.data.example import Example

SHORTEST = 48
"""Length of the shortest micro-batches: what chat templates put around a record is 20 to 40 tokens already."""


def padded_length(tokens: int) -> int:
    """The length of the micro-batches that records of so many tokens go into: 48, 64, 96, 136, 200, 264, 392, 520, ...

    Two lengths an octave: with more of them less is padding, but more rows are dummies, as the last micro-batch of each
    length is half empty. For steps of a hundred records this is the cheaper side.

    It holds one token of padding at least. A micro-batch in which nothing is masked may be given another attention
    kernel than one in which something is, and whether all of its records are of full length depends on all of them.

    From 128 on they are 8 tokens longer, so that a recipe's `data.max_tokens`, often a power of two, fits as well.

    Args:
        tokens: 0 or more.

    >>> [padded_length(tokens) for tokens in (0, 47, 48, 64, 100, 2048)]
    [48, 48, 64, 96, 136, 2056]
    """
    capacity = SHORTEST
    while (length := capacity + 8 * (capacity >= 128)) <= tokens:
        capacity = capacity * 4 // 3 if capacity % 3 == 0 else capacity * 3 // 2
    return length


def padded_lengths(max_tokens: int) -> list[int]:
    """All padded lengths of records of up to so many tokens, ascending."""
    lengths = [padded_length(0)]
    while lengths[-1] <= max_tokens:
        lengths.append(padded_length(lengths[-1]))
    return lengths


def micro_batches(examples: Sequence[Example], rows: int) -> Iterator[list[int]]:
    """Places in `examples` of at most `rows` at a time that share a padded length, the longest first.

    Examples of one length come in the order in which they are given. The longest come first because, if memory is
    to run out, it does so at once.
    """
    lengths = [padded_length(example.length) for example in examples]
    for length in sorted(set(lengths), reverse=True):
        places = [place for place, own in enumerate(lengths) if own == length]
        for start in range(0, len(places), rows):
            yield places[start : start + rows]
