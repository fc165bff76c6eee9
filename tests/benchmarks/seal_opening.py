"""The server's time and memory in a whole round, with a tenth of the sites lost at the mask stage.

The server has a process of its own and the sites another, so that the server's memory is its own: the kernel's
high-water mark of the process, and how far that lies above what the bare interpreter and its imports take.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity
from sealora_common.roster import Roster
from sealora_common.secagg import RingVector, RoundTerms, Segment, ServerSession, SiteSession, threshold_for


def measure(*, sites: int, length: int, repeats: int, named: int) -> dict[str, float]:
    """Medians over rounds of `sites` sites with `length` parameters; their names end in `named`, the wire's apart.

    Seconds are wall-clock, and for the opening also the processor's, which other users of the machine disturb less.
    """
    rounds = [_round(sites, length) for _ in range(repeats)]
    figures = {f"{key}_{named}": statistics.median(figures[key] for figures in rounds) for key in rounds[0]}
    return figures | {"bytes_per_param": figures.pop(f"bytes_per_param_{named}")}


def _round(sites: int, length: int) -> dict[str, float]:
    """Plays all sites of one round against a server in another process; checks the opened sum."""
    entropy = SystemEntropy()
    identities = [Identity.create(f"site-{index:03d}", entropy) for index in range(sites)]
    public_keys = {identity.name: identity.public_key for identity in identities}
    roster = Roster.create("bench", public_keys, Identity.create("coordinator", entropy))
    segments = (Segment(length, 16), Segment(4, 32))
    terms = RoundTerms(
        run=os.urandom(16),
        round_number=1,
        attempt=1,
        recipe_hash=bytes(32),
        roster_hash=roster.hash,
        order_digest=bytes(32),
        roster_size=sites,
        threshold=threshold_for(sites, "malicious"),
        min_survivors=3,
        segments=segments,
    )
    dropped = {10 * index + 1 for index in range(max(1, sites // 10))}
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, terms, roster))
    process.start()
    there.close()

    def call(method: str, *arguments: bytes) -> Any:
        here.send((method, arguments))
        return here.recv()

    sessions = []
    for identity in identities:
        session, message = SiteSession.begin(terms, roster, identity, entropy)
        sessions.append(session)
        call("add_advertisement", message)
    expected = RingVector.zeros(segments)
    sent = 0

    def masked(index: int, request: bytes) -> bytes | None:
        nonlocal sent
        if index in dropped:
            return None
        generator = np.random.default_rng(index)
        words = [generator.integers(0, 2**segment.bits // sites, segment.length) for segment in segments]
        typed = (word.astype(segment.dtype) for word, segment in zip(words, segments, strict=True))
        vector = RingVector(segments, tuple(typed))
        expected.add_(vector)
        message = sessions[index].mask(request, vector)
        sent = len(message)
        return message

    stages: tuple[tuple[str, str, Callable[[int, bytes], bytes | None]], ...] = (
        ("close_advertisements", "add_shares", lambda index, request: sessions[index].share(request)),
        ("close_shares", "add_check", lambda index, request: sessions[index].check(request)),
        ("close_checks", "add_disclosure", lambda index, request: sessions[index].disclose(request)),
        ("close_disclosures", "add_masked", masked),
        ("close_masked", "add_confirmation", lambda index, request: sessions[index].confirm(request)),
        ("close_confirmations", "add_opening", lambda index, request: sessions[index].open(request)),
    )
    for close, add, answer in stages:
        # The server holds its requests, as a real one does until it has sent them, and hands them out one by one.
        for index in call(close):
            message = answer(index, call("request", index))
            if message is not None:
                call(add, message)
    digest, survivors, figures = call("open")
    process.join()
    if digest != _digest(expected) or len(survivors) != sites - len(dropped):
        raise RuntimeError("the opened sum is wrong")
    return {**figures, "bytes_per_param": sent / length}


def _serve(connection: Connection, terms: RoundTerms, roster: Roster) -> None:
    """The server's process: runs what it is told and keeps the time."""
    baseline = _memory_mb("VmRSS")
    server = ServerSession(terms, roster)
    requests: dict[int, bytes] = {}
    total = 0.0
    method = ""
    while method != "open":
        method, arguments = connection.recv()
        if method == "request":
            connection.send(requests[arguments[0]])
            continue
        started, started_cpu = time.perf_counter(), time.process_time()
        answer = getattr(server, method)(*arguments)
        taken, taken_cpu = time.perf_counter() - started, time.process_time() - started_cpu
        total += taken
        del arguments
        if method.startswith("close"):
            requests, answer = answer, list(answer)
        if method == "open":
            peak = _memory_mb("VmHWM")
            answer = (
                _digest(answer.vector),
                answer.survivors,
                {
                    "open_seconds": taken,
                    "open_cpu_seconds": taken_cpu,
                    "server_seconds": total,
                    "server_memory_mb": peak,
                    "server_session_memory_mb": peak - baseline,
                },
            )
        connection.send(answer)


def _digest(vector: RingVector) -> bytes:
    return hashlib.sha256(vector.pack()).digest()


def _memory_mb(field: str) -> float:
    """VmRSS or VmHWM of this process. Not getrusage: what that counts outlives exec, the parent's memory included."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}")
