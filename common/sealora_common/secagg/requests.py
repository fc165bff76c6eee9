"""Requests of a stage, each made when it is asked for: what many sites are sent need not lie in memory all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence


class Requests(Mapping[int, bytes]):
    """The request for each of some sites, by index.

    Args:
        sites: whom there is a request for.
        make: makes one site's.
    """

    def __init__(self, sites: Sequence[int], make: Callable[[int], bytes]) -> None:
        self._sites = tuple(sites)
        self._make = make

    def __getitem__(self, site: int) -> bytes:
        if site not in self._sites:
            raise KeyError(site)
        return self._make(site)

    def __iter__(self) -> Iterator[int]:
        return iter(self._sites)

    def __len__(self) -> int:
        return len(self._sites)
