"""What the hybrid keys and signatures cost at ten sites, next to the same round with the classical halves alone.

A whole round is played and timed: what one site does, and what the server does with ten answers. From it is taken what
the post-quantum halves cost: each operation's time less its classical half's, times how often it was done.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity, verify
from sealora_common.roster import Roster
from sealora_common.secagg import (
    RingVector,
    RoundTerms,
    Segment,
    ServerSession,
    SiteSession,
    keys,
    messages,
    threshold_for,
)

_ADD = {
    "share": "add_shares",
    "check": "add_check",
    "mask": "add_masked",
    "confirm": "add_confirmation",
    "open": "add_opening",
}
_CLOSE = ("close_advertisements", "close_shares", "close_disclosures", "close_masked", "close_confirmations")


def measure(*, sites: int, length: int, repeats: int) -> dict[str, float]:
    """`pq_overhead_stage`: the round's stages over the same with classical halves; and its parts, in milliseconds."""
    extra = _extra_seconds(repeats * 20)
    rounds = [_round(sites, length, extra) for _ in range(repeats)]
    return {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}


def bytes_overhead(sites: int) -> float:
    """Bytes that a site sends and receives in the stages of a round, but for its vector."""
    federation = _Federation(sites, 1000)
    vector = len(RingVector.zeros(federation.terms.segments).pack())
    up, down = federation.play()
    return (sum(up.values()) + sum(down.values())) / sites - vector


class _Federation:
    def __init__(self, sites: int, length: int) -> None:
        entropy = SystemEntropy()
        self.identities = [Identity.create(f"site-{index:03d}", entropy) for index in range(sites)]
        public_keys = {identity.name: identity.public_key for identity in self.identities}
        self.roster = Roster.create("bench", public_keys, Identity.create("coordinator", entropy))
        self.terms = RoundTerms(
            run=os.urandom(16),
            round_number=1,
            attempt=1,
            recipe_hash=bytes(32),
            roster_hash=self.roster.hash,
            order_digest=bytes(32),
            roster_size=sites,
            threshold=threshold_for(sites, "malicious"),
            min_survivors=3,
            segments=(Segment(length, 16), Segment(4, 32)),
        )

    def play(
        self, timed: Callable[[str, str, float], None] = lambda who, stage, seconds: None
    ) -> tuple[Counter[int], Counter[int]]:
        """Plays a round; returns the bytes that each site sent and received."""
        server, sessions = ServerSession(self.terms, self.roster), []
        up: Counter[int] = Counter()
        down: Counter[int] = Counter()
        vector = RingVector(
            self.terms.segments,
            tuple(np.ones(segment.length, dtype=segment.dtype) for segment in self.terms.segments),
        )

        def run(who: str, stage: str, work: Callable[[], object]) -> object:
            started = time.perf_counter()
            result = work()
            timed(who, stage, time.perf_counter() - started)
            return result

        for index, identity in enumerate(self.identities):
            begin = lambda identity=identity: SiteSession.begin(self.terms, self.roster, identity, SystemEntropy())  # noqa: E731
            session, message = run("site", "advertise", begin)  # type: ignore[misc]
            sessions.append(session)
            up[index] += len(message)
            run("server", "advertise", lambda message=message: server.add_advertisement(message))
        for close, (stage, add) in zip(_CLOSE, _ADD.items(), strict=True):
            if stage == "mask":
                run("server", stage, server.close_checks)
            requests: dict[int, bytes] = run("server", stage, getattr(server, close))  # type: ignore[assignment]
            for index, request in requests.items():
                down[index] += len(request)
                arguments = (request, RingVector(vector.segments, tuple(word.copy() for word in vector.words)))
                asked = getattr(sessions[index], stage)
                given = arguments if stage == "mask" else arguments[:1]
                answer: bytes = run("site", stage, lambda asked=asked, given=given: asked(*given))  # type: ignore[assignment]
                up[index] += len(answer)
                run("server", stage, lambda add=add, answer=answer: getattr(server, add)(answer))
        run("server", "open", server.open)
        return up, down


def _round(sites: int, length: int, extra: dict[str, float]) -> dict[str, float]:
    seconds: Counter[str] = Counter()
    federation = _Federation(sites, length)
    with _counted() as counts:
        federation.play(lambda who, stage, taken: seconds.update({who: taken}))
    # A site's own time, and the server's for all of them: they follow each other in every stage.
    total = seconds["site"] / sites + seconds["server"]
    post_quantum = sum(extra[name] * count for (who, name), count in counts.items() if who == "site") / sites
    post_quantum += sum(extra[name] * count for (who, name), count in counts.items() if who == "server")
    return {
        "pq_overhead_stage": total / (total - post_quantum),
        "stages_milliseconds": 1000 * total,
        "pq_milliseconds": 1000 * post_quantum,
    }


@contextmanager
def _counted() -> Iterator[Counter[tuple[str, str]]]:
    """Counts the operations of sites and of the server while a round is played."""
    counts: Counter[tuple[str, str]] = Counter()
    import inspect

    def counting(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **named: object) -> object:
            frames = {os.path.basename(frame.filename) for frame in inspect.stack(0)[1:6]}
            counts["server" if frames & {"server.py", "unmasking.py"} else "site", name] += 1
            return original(*arguments, **named)

        return counted

    patched = [
        (keys, "seal", "seal"),
        (keys.KeyPair, "unseal", "unseal"),
        (keys.KeyPair, "__init__", "pair"),
        (messages, "verify", "verify"),
        (Identity, "sign", "sign"),
    ]
    originals = [(where, attribute, getattr(where, attribute)) for where, attribute, _ in patched]
    try:
        for where, attribute, name in patched:
            setattr(where, attribute, counting(name, getattr(where, attribute)))
        yield counts
    finally:
        for where, attribute, original in originals:
            setattr(where, attribute, original)


def _extra_seconds(repeats: int) -> dict[str, float]:
    """What each operation takes more than its classical half, seconds."""
    seed, bound, message = os.urandom(32), b"bound", os.urandom(3000)
    pair = keys.KeyPair(seed)
    sealed = keys.seal(seed, pair.public, bound)
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    private = X25519PrivateKey.generate()
    classical = suite.encrypt(seed, private.public_key(), bound)
    identity = Identity.create("bench", SystemEntropy())
    signature = identity.sign(message)
    signing = Ed25519PrivateKey.generate()
    signed = signing.sign(message)
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "pair": (lambda: keys.KeyPair(seed), lambda: X25519PrivateKey.generate().public_key().public_bytes_raw()),
        "seal": (
            lambda: keys.seal(seed, pair.public, bound),
            lambda: suite.encrypt(seed, private.public_key(), bound),
        ),
        "unseal": (lambda: pair.unseal(sealed, bound), lambda: suite.decrypt(classical, private, bound)),
        "sign": (lambda: identity.sign(message), lambda: signing.sign(message)),
        "verify": (
            lambda: verify(identity.public_key, signature, message),
            lambda: signing.public_key().verify(signed, message),
        ),
    }
    return {name: max(0.0, _median(both[0], repeats) - _median(both[1], repeats)) for name, both in pairs.items()}


def _median(work: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)
