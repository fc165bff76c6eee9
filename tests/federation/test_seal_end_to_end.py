"""The seal over a whole simulated run: what the server gets of one site says nothing, the sum says what it should."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sealora_client.training.local import LocalTraining
from sealora_common.adapter import adapter_kind
from sealora_common.roster import Roster
from sealora_common.round.clip_range import initial_range
from sealora_common.round.contribution import ContributionLayout, OpenedRound
from sealora_common.round.hello import Hello
from sealora_common.round.order import RoundOrder, terms_of
from sealora_common.secagg.bodies import (
    Advertisement,
    CheckStatement,
    MaskStatement,
    Opening,
    ShareMessage,
    ShareStatement,
    Survivors,
    split_masked,
)
from sealora_common.secagg.encoding import FixedPoint
from sealora_common.secagg.messages import Kind, open_signed
from sealora_common.secagg.ring import RingVector

from lora_kinds import lora
from tiny_federation import (
    PRIVATE,
    WatchedGrid,
    adapter_of,
    events_of,
    history_of,
    recipe_of,
    run_inline,
    write_federation,
)

# Four statistics for each of three sites and for the sum: sixteen chances to fail falsely, below 1e-6 together.
REFUSED_BELOW = 1e-6 / 16
ROUNDS = 3
SITES = ("site-0", "site-1", "site-2")


@dataclass
class Reply:
    """What the server received: from whom, at which action of which round, as an answer to what."""

    site: str
    action: str
    round: int
    order: RoundOrder | None
    content: object


@dataclass
class Observed:
    """One run, as the server saw it and as the sites know it."""

    run: Path
    replies: list[Reply] = field(default_factory=list)
    encoded: list[np.ndarray] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """The held-out losses that sites put into the sums."""
    deltas: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)
    opened: list[OpenedRound] = field(default_factory=list)

    def masked_words(self, site: str) -> np.ndarray:
        """All 16-bit words of the deltas that one site sent, over all rounds."""
        masked = [reply for reply in self.replies if (reply.site, reply.action) == (site, "query.mask")]
        trained = [reply for reply in masked if reply.order.purpose == "train"]
        return np.concatenate([masked_vector(self, reply).words[0] for reply in trained])


@pytest.fixture(scope="module")
def observed(tiny_base, tmp_path_factory) -> Observed:
    directory = tmp_path_factory.mktemp("seal")
    recipe = write_federation(
        directory,
        tiny_base(),
        rounds=ROUNDS,
        privacy=PRIVATE,
        lora={"rank": 8},
        training={"steps_per_round": 2},
        sealing={"weight_cap": 30},
    )
    seen = Observed(directory / "run")

    class Tapping(WatchedGrid):
        order = None

        def exchange(self, site, action, message):
            if action in ("train", "evaluate"):
                self.order = RoundOrder.parse(message.content.config_records["config"]["order"])
            reply = super().exchange(site, action, message)
            assert not reply.has_error()
            seen.replies.append(Reply(site, action, self.round, self.order, reply.content))
            return reply

    train, encode, decode = LocalTraining.train, ContributionLayout.encode, ContributionLayout.decode

    def spied_train(self, model, examples, *, round_number, **rest):
        trained = train(self, model, examples, round_number=round_number, **rest)
        site = f"site-{len(examples) - 24}"  # the sites differ in their number of records
        seen.deltas.setdefault(round_number, {})[site] = trained.values.copy()
        return trained

    def spied_encode(self, contribution, entropy):
        vector = encode(self, contribution, entropy)
        seen.losses.append(contribution.heldout_loss)
        if self.parameters:
            seen.encoded.append(vector.words[0].copy())
        return vector

    def spied_decode(self, opened):
        seen.opened.append(decode(self, opened))
        return seen.opened[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SEALORA_INSECURE_SEED", raising=False)
        patch.setattr(LocalTraining, "train", spied_train)
        patch.setattr(ContributionLayout, "encode", spied_encode)
        patch.setattr(ContributionLayout, "decode", spied_decode)
        run_inline(recipe, seen.run, grid=Tapping)
    return seen


def terms(seen: Observed, order: RoundOrder):
    from sealora_client.model.adapted import adapted_model

    recipe = recipe_of(seen.run)
    trained = lora().trained(adapted_model(recipe).layout, order.round_number) if order.purpose == "train" else None
    roster = Roster.load(seen.run / "roster.json")
    return terms_of(order, recipe, roster, ContributionLayout.of(recipe, trained, len(roster))), roster


def masked_vector(seen: Observed, reply: Reply) -> RingVector:
    of_round, roster = terms(seen, reply.order)
    message = reply.content.array_records["arrays"]["masked"].numpy().tobytes()
    statement, packed = split_masked(message)
    _, body = open_signed(statement, Kind.MASK, of_round, roster)
    assert MaskStatement.from_bytes(body).vector_digest == hashlib.sha256(packed).digest()
    return RingVector.unpack(packed, of_round.segments)


def p_values(words: np.ndarray) -> dict[str, float]:
    """How likely uniform, independent words are to look less uniform than these 16-bit words do."""
    low, high = words & 0xFF, words >> 8

    def uniform_over(values: np.ndarray) -> float:
        return float(stats.chisquare(np.bincount(values, minlength=256)).pvalue)

    centred = words.astype(np.float64) - words.mean()
    correlation = np.corrcoef(centred[:-1], centred[1:])[0, 1]
    return {
        "bytes": uniform_over(words.view(np.uint8)),
        "low bytes": uniform_over(low),
        "high bytes": uniform_over(high),
        "serial correlation": float(2 * stats.norm.sf(abs(correlation) * np.sqrt(len(words) - 1))),
    }


@pytest.mark.slow
@pytest.mark.parametrize("site", SITES)
def test_a_site_s_masked_words_are_indistinguishable_from_uniform_ones(observed, site):
    words = observed.masked_words(site)
    assert len(words) > 20_000
    assert min(p_values(words).values()) > REFUSED_BELOW


def test_the_same_statistics_tell_unmasked_words_from_uniform_ones(observed):
    found = p_values(np.concatenate(observed.encoded))
    assert found["bytes"] < 1e-100
    assert found["high bytes"] < 1e-100


def test_the_sum_without_the_shares_is_indistinguishable_too(observed):
    # Pairwise masks cancel in the sum; the sites' own masks, which only their shares remove, must not.
    sums = []
    for round_number in range(1, ROUNDS + 1):
        vectors = [
            masked_vector(observed, reply).words[0]
            for reply in observed.replies
            if reply.action == "query.mask" and reply.round == round_number
        ]
        assert len(vectors) == len(SITES)
        sums.append(np.sum(vectors, axis=0, dtype=np.uint16))
    assert min(p_values(np.concatenate(sums)).values()) > REFUSED_BELOW


def test_masked_words_of_a_site_do_not_correlate_with_its_plain_ones(observed):
    words = np.concatenate([observed.masked_words(site) for site in SITES]).astype(np.int64)
    # `encoded` is in the order in which sites answered, so compare with every site's words of every round.
    for plain in observed.encoded:
        for start in range(0, len(words), len(plain)):
            difference = ((words[start : start + len(plain)] - plain) & 0xFFFF).astype(np.uint16)
            assert p_values(difference)["bytes"] > REFUSED_BELOW / 100


def test_the_opened_sum_is_the_plain_weighted_mean_within_the_rounding_bound(observed):
    recipe = recipe_of(observed.run)
    weights = {"site-0": 24 / 30, "site-1": 25 / 30, "site-2": 26 / 30}
    total = sum(weights.values())
    reaches = {reply.round: reply.order.clip_range for reply in observed.replies if reply.order is not None}
    assert reaches[1] == initial_range(recipe)
    assert len(observed.opened) == ROUNDS + 1
    for round_number, opened in enumerate(observed.opened[:ROUNDS], start=1):
        reach = reaches[round_number]
        step = FixedPoint(-reach, reach, recipe.sealing.ring_bits, len(SITES)).step
        bound = len(SITES) * step / total * (1 + 1e-3)
        deltas = observed.deltas[round_number]
        assert set(deltas) == set(SITES)
        weighted = [weights[site] * deltas[site].astype(np.float64) for site in SITES]
        expected = sum(np.clip(each, -reach, reach) for each in weighted) / total
        clipped = np.mean([np.abs(each) > reach for each in weighted])
        assert clipped < 1e-3
        assert opened.clipped_fraction == pytest.approx(clipped, abs=1e-8)
        assert opened.total_weight == pytest.approx(total, abs=1e-8)
        assert np.abs(expected).max() > 20 * bound
        assert np.abs(opened.mean_delta - expected).max() <= bound


def test_the_published_adapter_is_the_initial_one_plus_the_opened_means(observed):
    from sealora_client.model.adapted import adapted_model

    recipe = recipe_of(observed.run)
    layout = adapted_model(recipe).layout
    expected = lora().shared(layout).flatten(adapter_kind(recipe).initial(layout)).astype(np.float64)
    for round_number in range(1, ROUNDS + 1):
        expected = expected + observed.opened[round_number - 1].mean_delta
        stored = lora().shared(layout).flatten(adapter_of(observed.run, round_number))
        np.testing.assert_allclose(stored, expected, atol=1e-6)
    np.testing.assert_array_equal(layout.flatten(adapter_of(observed.run)), layout.flatten(adapter_of(observed.run, 3)))


def test_the_opened_loss_is_the_mean_of_the_sites_noisy_ones(observed):
    noisy = np.reshape(observed.losses, (-1, len(SITES)))
    assert len(noisy) == len(observed.opened)
    for round_number, (opened, losses) in enumerate(zip(observed.opened, noisy, strict=True), start=1):
        assert opened.heldout_loss == pytest.approx(losses.mean(), abs=1e-6)
        exact = [
            line["heldout_loss"] for s in SITES for line in history_of(observed.run, s) if line["round"] == round_number
        ]
        assert not set(losses) & set(exact)


def test_replies_hold_protocol_messages_and_not_a_field_more(observed):
    for reply in observed.replies:
        content = reply.content
        assert not content.metric_records
        if reply.action == "query.mask":
            assert not content.config_records
            assert {name: set(record) for name, record in content.array_records.items()} == {"arrays": {"masked"}}
            assert content.array_records["arrays"]["masked"].dtype == "uint8"
        else:
            assert not content.array_records
            assert {name: set(record) for name, record in content.config_records.items()} == {"config": {"payload"}}
            assert isinstance(content.config_records["config"]["payload"], bytes)


def test_every_payload_is_exactly_one_message_of_its_stage(observed):
    """Each parser refuses bytes left over, so nothing else can ride along."""
    kinds = {
        "train": (Kind.ADVERTISE, Advertisement),
        "evaluate": (Kind.ADVERTISE, Advertisement),
        "query.share": (Kind.SHARE, ShareStatement),
        "query.check": (Kind.CHECK, CheckStatement),
        "query.confirm": (Kind.CONFIRM, Survivors),
        "query.open": (Kind.OPEN, Opening),
    }
    stages = 0
    for reply in observed.replies:
        if reply.action == "query.hello":
            hello = Hello.parse(reply.content.config_records["config"]["payload"])
            assert hello.site == reply.site
            assert {type(n) for _, shape in hello.layout for n in shape} == {int}
        elif reply.action == "query.mask":
            assert masked_vector(observed, reply).segments == terms(observed, reply.order)[0].segments
        else:
            kind, message = kinds[reply.action]
            of_round, roster = terms(observed, reply.order)
            payload = reply.content.config_records["config"]["payload"]
            if reply.action == "query.share":
                shared = ShareMessage.from_bytes(payload)
                assert shared.to_bytes() == payload
                payload = shared.signed
            sender, body = open_signed(payload, kind, of_round, roster)
            assert roster.names[sender] == reply.site
            assert message.from_bytes(body).to_bytes() == body
        stages += 1
    assert stages == len(SITES) * (1 + 6 * (ROUNDS + 1))


def test_no_figure_of_a_site_is_among_the_bytes_it_sent(observed):
    for site in SITES:
        sent = b"\n".join(raw_bytes(reply.content) for reply in observed.replies if reply.site == site)
        figures = [
            line[key]
            for line in history_of(observed.run, site)
            for key in ("heldout_loss", "median_norm")
            if key in line
        ]
        assert len(figures) == 2 * ROUNDS + 1
        for figure in figures:
            forms = [struct.pack(order + kind, figure) for order in "<>" for kind in "df"]
            forms += [repr(figure).encode(), f"{figure:.6g}".encode()]
            assert [form for form in forms if form in sent and len(form) > 4] == []
        for deltas in observed.deltas.values():
            assert deltas[site][:4].tobytes() not in sent


def raw_bytes(content) -> bytes:
    parts = [array.data for record in content.array_records.values() for array in record.values()]
    parts += [value for record in content.config_records.values() for value in record.values()]
    return b"\n".join(part if isinstance(part, bytes) else str(part).encode() for part in parts)


def test_the_server_s_own_files_hold_no_figure_of_one_site(observed):
    text = (observed.run / "events.jsonl").read_text()
    text += "".join(path.read_text() for path in observed.run.glob("rounds/*/round.json"))
    for site in SITES:
        for line in history_of(observed.run, site):
            assert f"{line['heldout_loss']:.7g}"[:8] not in text
    assert {event.site for event in events_of(observed.run, "site_replied")} == set(SITES)
