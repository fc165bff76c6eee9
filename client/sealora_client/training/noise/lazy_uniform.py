"""Uniform numbers whose bits are drawn as far as a decision needs them."""

from __future__ import annotations

from fractions import Fraction

from sealora_client.training.noise.keystream import Keystream

_WORD_BITS = 64


class LazyUniform:
    """A real number uniform over [0, 1), of which the first `bits` bits are known.

    It lies in [numerator, numerator + 1] * 2^-bits. More bits halve that interval further and never leave it, so a
    decision that holds for the whole interval is the decision for the number itself (Knuth & Yao 1976).

    Args:
        stream: where further bits come from.
        numerator: the first `bits` random bits, drawn already.
        bits: how many they are.
    """

    def __init__(self, stream: Keystream, numerator: int, bits: int) -> None:
        self._stream = stream
        self.numerator = numerator
        self.bits = bits

    def extend(self) -> None:
        """Draws 64 bits more."""
        self.numerator = self.numerator << _WORD_BITS | int(self._stream.words(1)[0])
        self.bits += _WORD_BITS

    @property
    def low(self) -> Fraction:
        """Lower end of the interval."""
        return Fraction(self.numerator, 1 << self.bits)

    @property
    def high(self) -> Fraction:
        """Upper end of the interval."""
        return Fraction(self.numerator + 1, 1 << self.bits)
