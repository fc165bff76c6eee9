"""More than 100,000 mutated inputs to every parser and every entry point of a site and of the server.

The mutations know the format: counts and lengths are set to their extremes, messages cut, padded and spliced, and in
the sessions' case a mutated body is signed again by its site, so that it gets past the signatures. Nothing may come
of it but the protocol's own errors, quickly and in little memory; what a parser accepts, it writes out the same.
"""

from __future__ import annotations

import random
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from sealora_common.identity import SIGNATURE_BYTES
from sealora_common.secagg import Fault, FaultKind, ProtocolError, RingVector, RoundTerms, Segment, TooFewSitesError
from sealora_common.secagg.bodies import (
    Advertisement,
    CheckRequest,
    CheckStatement,
    Disclosure,
    MaskRequest,
    MaskStatement,
    Opening,
    ShareKind,
    ShareMessage,
    ShareStatement,
    Survivors,
)
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.messages import Kind, bundle, open_signed, sign, signed_bytes, unbundle
from sealora_common.secagg.transcript import Transcript
from secagg_turned import complaining, go_on, turn

from secagg_attacker import HEADER_BYTES
from secagg_runs import STAGES, Federation, Run, clone_server, clone_site

FEDERATION = Federation.of(4)
SPARSE = Federation.of(7, small_graph=Neighbourhood(4, 3))
SEGMENTS = (Segment(9, 13), Segment(3, 17), Segment(0, 12), Segment(2, 32))
LIMIT = 1 << 16
PARSERS = (
    "advertisement",
    "statement",
    "share message",
    "check request",
    "checked",
    "disclosure",
    "mask request",
    "mask statement",
    "survivors",
    "opening",
    "terms",
    "transcript",
    "fault",
    "bundle",
    "signed",
    "vector",
)
EXTREMES = (b"\0\0", b"\0\1", b"\xff\xff", b"\x7f\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\1\0\0", b"\x80\0\0\0")


def mutated(chosen: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """`content` after one to three random changes."""
    for _ in range(chosen.randint(1, 3)):
        place = chosen.randrange(len(content) + 1)
        other = chosen.choice(others)
        change = chosen.randrange(8)
        if change == 0 and content:
            place = chosen.randrange(len(content))
            content = content[:place] + bytes([content[place] ^ 1 << chosen.randrange(8)]) + content[place + 1 :]
        elif change == 1:
            content = content[:place]
        elif change == 2:
            content += chosen.randbytes(chosen.randint(1, 40))
        elif change == 3:
            extreme = chosen.choice(EXTREMES)
            content = content[:place] + extreme + content[place + len(extreme) :]
        elif change == 4:
            content = content[:place] + chosen.randbytes(chosen.randint(1, 4)) + content[place:]
        elif change == 5:
            content = content[:place] + content[place + chosen.randint(1, 40) :]
        elif change == 6:
            content = content[:place] + other[chosen.randrange(len(other) + 1) :]
        else:
            content = content[:place] + content[max(0, place - chosen.randint(1, 40)) :]
    return content


def before(stage: str, federation: Federation, drops: dict[int, str] | None = None) -> Run:
    """A round up to a stage. A site complains of another, so that there is something to disclose."""
    run = Run(federation)
    if stage == "advertise":
        return run
    run.step("advertise")
    if stage == "share":
        return run
    run.step("share")
    others = [
        index for index, message in run.answers["share"].items() if 3 in ShareMessage.from_bytes(message).envelopes
    ]
    if not others:  # a graph drawn so that nobody shares with it
        return before(stage, federation, drops)
    return go_on(turn(run, {3: complaining(others[0])}), stage, drops)


def parsers() -> dict[str, tuple[Callable[[bytes], bytes], list[bytes]]]:
    """By name: a parser followed by its writer, and what it reads."""
    run = before("open", FEDERATION)
    run.step("open")
    site = before("confirm", FEDERATION).sites[0]

    def bodies(stage: str) -> list[bytes]:
        return [message[HEADER_BYTES:-SIGNATURE_BYTES] for message in run.answers[stage].values()]

    def of_mask_request(content: bytes) -> bytes:
        return MaskRequest.from_bytes(content, limit=4).to_bytes()

    def of_bundle(content: bytes) -> bytes:
        return bundle(unbundle(content, limit=4, message_limit=LIMIT))

    def of_signed(content: bytes) -> bytes:
        open_signed(content, Kind.CONFIRM, FEDERATION.terms, FEDERATION.roster)
        return content

    shares = list(run.answers["share"].values())
    statements = [
        ShareMessage.from_bytes(message).signed[HEADER_BYTES:-SIGNATURE_BYTES]
        for message in run.answers["share"].values()
    ]
    opening = Opening(bytes(32), bytes(32), {0: (ShareKind.SELF_MASK, b"a" * 32), 2: (ShareKind.MASK_SEED, b"b" * 32)})
    transcript = site._state.transcript
    fault = Fault(1, FaultKind.SHARE, FEDERATION.terms, transcript, (b"one", b"another"), (b"more",))
    packed = RingVector.zeros(SEGMENTS)
    for words in packed.words:
        words[:] = range(len(words))
    return {
        "advertisement": (lambda content: Advertisement.from_bytes(content).to_bytes(), bodies("advertise")),
        "statement": (lambda content: ShareStatement.from_bytes(content).to_bytes(), statements),
        "share message": (lambda content: ShareMessage.from_bytes(content).to_bytes(), shares),
        "check request": (
            lambda content: CheckRequest.from_bytes(content).to_bytes(),
            list(run.requests["check"].values()),
        ),
        "checked": (lambda content: CheckStatement.from_bytes(content).to_bytes(), bodies("check")),
        "disclosure": (lambda content: Disclosure.from_bytes(content).to_bytes(), bodies("disclose")),
        "mask request": (of_mask_request, list(run.requests["mask"].values())),
        "mask statement": (lambda content: MaskStatement.from_bytes(content).to_bytes(), [bytes(64)]),
        "survivors": (lambda content: Survivors.from_bytes(content).to_bytes(), bodies("confirm")),
        "opening": (lambda content: Opening.from_bytes(content).to_bytes(), [*bodies("open"), opening.to_bytes()]),
        "terms": (lambda content: RoundTerms.from_bytes(content).to_bytes(), [FEDERATION.terms.to_bytes()]),
        "transcript": (lambda content: Transcript.from_bytes(content).to_bytes(), [transcript.to_bytes()]),
        "fault": (lambda content: Fault.from_bytes(content).to_bytes(), [fault.to_bytes()]),
        "bundle": (of_bundle, [run.requests["share"][0], run.requests["open"][0]]),
        "signed": (of_signed, list(run.answers["confirm"].values())),
        "vector": (lambda content: RingVector.unpack(content, SEGMENTS).pack(), [packed.pack()]),
    }


@pytest.fixture(scope="module")
def made_parsers() -> dict[str, tuple[Callable[[bytes], bytes], list[bytes]]]:
    made = parsers()
    assert tuple(made) == PARSERS
    return made


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_takes_any_bytes(
    name: str, made_parsers: dict[str, tuple[Callable[[bytes], bytes], list[bytes]]]
) -> None:
    chosen = random.Random(name)
    parse, samples = made_parsers[name]
    everything = [sample for _, all_samples in made_parsers.values() for sample in all_samples]
    accepted = 0
    for sample in samples:
        assert parse(sample) == sample
    for _ in range(8_000):
        content = mutated(chosen, chosen.choice(samples), everything)
        try:
            written = parse(content)
        except ProtocolError:
            continue
        assert written == content
        accepted += 1
    assert name == "signed" or accepted > 0


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_allocates_no_more_than_it_is_given(
    name: str, made_parsers: dict[str, tuple[Callable[[bytes], bytes], list[bytes]]]
) -> None:
    chosen = random.Random(name)
    parse, samples = made_parsers[name]
    contents = [mutated(chosen, chosen.choice(samples), samples) for _ in range(500)]
    contents += [extreme * 2 + bytes(50) for extreme in EXTREMES]
    contents += [b"\xff" * 100_000, bytes(100_000), b"\0\1" * 50_000]
    largest = max(map(len, contents))
    for content in contents:
        with suppress(ProtocolError):  # once before the count, for what is made on first use
            parse(content)
    tracemalloc.start()
    for content in contents:
        with suppress(ProtocolError):
            parse(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * largest  # lists of integers are larger than their bytes


class Fuzzer:
    """Rounds frozen before every stage, and mutations of what is said in them."""

    def __init__(self, federation: Federation, seed: int) -> None:
        self.chosen = random.Random(seed)
        self.federation = federation
        self.frozen = {}
        for stage in STAGES:
            run = before(stage, federation, {1: "confirm"} if stage in ("confirm", "open") else None)
            if stage != "advertise":
                run.close(stage)
                # A message for the server is signed anew, so any site's will do; the answers are made on copies.
                copy = Run(federation)
                for index, request in run.requests[stage].items():
                    copy.sites[index] = clone_site(run.sites[index])
                    run.answers.setdefault(stage, {})[index] = copy.answer(stage, index, request)
            else:
                run.answers[stage] = {index: federation.begin(index)[1] for index in range(len(federation))}
            self.frozen[stage] = run
        self.said = [
            message
            for run in self.frozen.values()
            for of_stage in run.answers.values()
            for message in of_stage.values()
        ]

    def signed_anew(self, message: bytes) -> bytes:
        """A message of a site, its body mutated, under the site's own signature."""
        if message[:4] != b"SLRA":  # a share message
            message = ShareMessage.from_bytes(message).signed
        kind, sender = Kind(message[5]), int.from_bytes(message[38:40], "big")
        body = message[HEADER_BYTES:-SIGNATURE_BYTES]
        if self.chosen.random() < 0.1:
            sender = self.chosen.randrange(len(self.federation))
        if self.chosen.random() < 0.03:
            kind = self.chosen.choice(list(Kind))
        body = mutated(self.chosen, body, self.said)
        return sign(kind, body, self.federation.terms, self.federation.identity(sender), sender)

    def for_a_site(self, stage: str, request: bytes) -> bytes:
        if stage in ("check", "mask") or self.chosen.random() < 0.3:
            return mutated(self.chosen, request, self.said)
        messages = unbundle(request, limit=len(self.federation), message_limit=LIMIT)
        for _ in range(self.chosen.randint(1, 2)):
            place = self.chosen.randrange(len(messages))
            change = self.chosen.randrange(4)
            if change < 2:
                messages[place] = self.signed_anew(messages[place])
            elif change == 2:
                messages[place] = self.chosen.choice(self.said)
            elif len(messages) > 1:
                del messages[place]
        return bundle(messages)

    def for_the_server(self, stage: str, message: bytes) -> bytes:
        if stage == "mask":
            signed, packed = message[: signed_bytes(64)], message[signed_bytes(64) :]
            if self.chosen.random() < 0.5:
                signed = self.signed_anew(signed)
            return mutated(self.chosen, signed + packed, self.said)
        if stage == "share" and self.chosen.random() < 0.7:
            share = ShareMessage.from_bytes(message)
            return ShareMessage(self.signed_anew(share.signed), share.envelopes).to_bytes()
        if self.chosen.random() < 0.3:
            return mutated(self.chosen, message, self.said)
        return self.signed_anew(message)

    def ask_a_site(self) -> str:
        stage = self.chosen.choice(STAGES[1:])
        run = self.frozen[stage]
        index = self.chosen.choice(list(run.requests[stage]))
        probe = Run(self.federation)
        probe.sites[index] = clone_site(run.sites[index])
        outcome = self.outcome(lambda: probe.answer(stage, index, self.for_a_site(stage, run.requests[stage][index])))
        following = STAGES[min(STAGES.index(stage) + 1, len(STAGES) - 1)]
        more = self.frozen[following].requests[following].get(index, b"")
        self.outcome(lambda: probe.answer(following, index, more))  # whatever came of it, the session holds
        return f"site {stage} {outcome}"

    def tell_the_server(self) -> str:
        stage = self.chosen.choice(STAGES)
        run = self.frozen[stage]
        probe = Run(self.federation)
        probe.server = clone_server(run.server)
        left_out = self.chosen.choice(list(run.answers[stage]))
        outcome = self.outcome(lambda: probe.deliver(stage, self.for_the_server(stage, run.answers[stage][left_out])))
        for index, message in run.answers[stage].items():
            if index != left_out:
                self.outcome(partial(probe.deliver, stage, message))
        if stage == "open":
            self.outcome(probe.server.open)
        else:
            self.outcome(lambda: probe.close(STAGES[STAGES.index(stage) + 1]))
        return f"server {stage} {outcome}"

    @staticmethod
    def outcome(action: Callable[[], object]) -> str:
        try:
            action()
        except ProtocolError:
            return "refused"
        except TooFewSitesError:
            return "too few"
        return "taken"


def fuzz(inputs: int, seed: int) -> Counter[str]:
    outcomes = Counter[str]()
    for federation in (FEDERATION, SPARSE):
        fuzzer = Fuzzer(federation, seed)
        for _ in range(inputs // 4):
            outcomes[fuzzer.ask_a_site()] += 1
            outcomes[fuzzer.tell_the_server()] += 1
    return outcomes


def test_sessions_take_any_message() -> None:
    started = time.process_time()
    outcomes = fuzz(3_000, seed=1)
    assert time.process_time() - started < 120  # no hang; a few seconds are usual
    for party, stages in (("site", STAGES[1:]), ("server", STAGES)):
        for stage in stages:
            assert outcomes[f"{party} {stage} refused"] > 50


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_sessions_take_a_hundred_thousand_messages(seed: int) -> None:
    assert fuzz(30_000, seed=seed + 100).total() == 30_000


def test_a_session_allocates_no_more_than_it_is_given() -> None:
    fuzzer = Fuzzer(FEDERATION, seed=2)
    fuzzer.ask_a_site()
    fuzzer.tell_the_server()
    tracemalloc.start()
    for _ in range(100):
        fuzzer.ask_a_site()
        fuzzer.tell_the_server()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**21
