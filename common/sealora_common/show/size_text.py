"""How much memory or disk something takes, the same in every sentence."""

from __future__ import annotations


def size_text(count: int) -> str:
    """A number of bytes in binary units (IEC 80000-13): `64 KiB`, `16 MiB`, `1.5 GiB`.

    What crosses a network is told in decimal units, as networks are (`sealora_server.view.quantities`).
    """
    if count >= 2**30:
        return f"{count / 2**30:.1f} GiB"
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"
