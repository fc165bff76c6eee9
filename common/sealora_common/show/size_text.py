"""How much memory, disk or traffic something takes, the same in every sentence."""

from __future__ import annotations


def size_text(count: int) -> str:
    """A number of bytes of memory or disk in binary units (IEC 80000-13): `64 KiB`, `16 MiB`, `1.5 GiB`."""
    if count >= 2**30:
        return f"{count / 2**30:.1f} GiB"
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def traffic_text(count: int) -> str:
    """A number of bytes that cross a network, in decimal units, as networks are told: `812 B`, `4.1 MB`."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
