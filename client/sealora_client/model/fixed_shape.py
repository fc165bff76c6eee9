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
    """The length of the micro-batches that records of so many tokens go into: 48, 56, 64, 80, 96, 112, 128, 160, ...

    Four lengths an octave: steps small enough that padding costs little, few enough that few micro-batches have
    dummies in them.

    It holds one token of padding at least. A micro-batch in which nothing is masked may be given another attention
    kernel than one in which something is, and whether all of its records are of full length depends on all of them.

    Args:
        tokens: 0 or more.

    >>> [padded_length(tokens) for tokens in (0, 47, 48, 64, 100, 2000)]
    [48, 48, 56, 80, 112, 2048]
    """
    step = 1 << max(0, tokens.bit_length() - 3)  # a quarter of the octave that begins at or below `tokens`
    return max(SHORTEST, (tokens // step + 1) * step)


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
    lengths = [padded_length(len(example.tokens)) for example in examples]
    for length in sorted(set(lengths), reverse=True):
        places = [place for place, own in enumerate(lengths) if own == length]
        for start in range(0, len(places), rows):
            yield places[start : start + rows]
