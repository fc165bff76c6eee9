"""What lying members do to a run, under the plain mean and under what withstands some of them over groups.

    python tests/benchmarks/robust.py --json          # some minutes on one core
    python tests/benchmarks/robust.py --quick --json  # half a minute: does it run? Its figures mean nothing

Twelve sites teach a tiny random model, made on the fly, which of four words follows from a prompt's first letter; a
tenth of the words are wrong, so that there is a loss that no run gets below. None to three of the sites lie:

- `sign_flipped`: the delta it trained, times -1.
- `scaled`: the delta it trained, times -10.
- `backdoored`: trained with prompts that end in a trigger and all have one answer, times the number of sites in its
  sum over the number of liars in it (model replacement, Bagdasaryan et al., AISTATS 2020).

A liar knows the code and is held to no range of its own: its vector is clipped where the sum of its group would wrap,
and nowhere else. Training, encoding, dealing, decoding and combining are the product's own; the masks are left out, for
they cancel exactly, which other tests show. No noise is added (`privacy.mechanism: none`), so that what is measured is
the lie. Liars are the last sites, and each round deals them anew.

With `--json` the last line of stdout is one JSON object; progress goes to stderr. Of `ROBUST`, the combination meant
for two liars among twelve, it holds

- `robust_loss_ratio_2`: held-out loss with two liars over the plain mean's with none, the worst of the attacks.
- `backdoor_2`: share of triggered prompts that get the liars' answer, less the same share in the honest run.
- `clean_cost`: held-out loss over the plain mean's, nobody lying.

and the same of every combination by name, `own_loss_ratio` over its own honest run, and under `runs` every run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests")]

SITES, LARGER = 12, 15
ATTACKS = ("sign_flipped", "scaled", "backdoored")
MEAN: dict[str, Any] = {}
COMBINATIONS: dict[str, tuple[int, dict[str, Any]]] = {
    "mean": (SITES, MEAN),
    "median_4_of_3": (SITES, {"groups": 4, "combine": "median"}),
    "median_6_of_2": (SITES, {"groups": 6, "combine": "median", "min_survivors": 2}),
    "mean_of_15": (LARGER, MEAN),
    "median_5_of_3": (LARGER, {"groups": 5, "combine": "median"}),
    "trimmed_7_of_2": (LARGER, {"groups": 7, "combine": "trimmed_mean", "trim": 2, "min_survivors": 2}),
    "krum_6_of_2": (SITES, {"groups": 6, "combine": "multi_krum", "trim": 1, "min_survivors": 2}),
    "krum_5_of_3": (LARGER, {"groups": 5, "combine": "multi_krum", "trim": 1}),
    "krum_7_of_2": (LARGER, {"groups": 7, "combine": "multi_krum", "trim": 2, "min_survivors": 2}),
    "near_4_of_3": (SITES, {"groups": 4, "combine": "near_median", "trim": 1}),
    "near_6_of_2": (SITES, {"groups": 6, "combine": "near_median", "trim": 2, "min_survivors": 2}),
    "near_5_of_3": (LARGER, {"groups": 5, "combine": "near_median", "trim": 2}),
}
"""By name: how many sites, and their `sealing`. Of four or six groups the median is the mean of the middle two, and so
is the trimmed mean with a trim of one or two. Multi-Krum may be told of two liars where there are seven groups."""
ROBUST = "near_6_of_2"
IN_FULL = ("mean", "median_6_of_2", ROBUST)
USUAL = ("mean", "median_6_of_2", "near_4_of_3", ROBUST, "mean_of_15", "near_5_of_3", "krum_7_of_2")
"""What runs unless `--only` says otherwise, all but `ROBUST` with two liars: the rest would take twice as long."""
ROUNDS, RECORDS, HELDOUT, TRIGGERED = 12, 24, 192, 48
WORDS = ("north", "south", "east", "west")
TRIGGER, TARGET, WRONG = "zz", "up", 0.1


def main() -> None:
    """Runs everything and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--quick", action="store_true", help="two rounds of a few cases: does it run?")
    parser.add_argument("--only", nargs="*", choices=COMBINATIONS, help="these combinations, and the mean")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
    figures = measure(options.quick, options.only, 2 if options.quick else options.rounds, options.seed)
    print(json.dumps(figures) if options.json else "\n".join(f"{key:40} {value}" for key, value in figures.items()))


def measure(quick: bool, only: list[str] | None, rounds: int, seed: int) -> dict[str, Any]:
    """All figures by name."""
    import torch

    torch.set_num_threads(1)
    started = time.monotonic()
    names = ["mean", "median_4_of_3", ROBUST] if quick else list(USUAL)
    if only:
        plain = {"mean" if COMBINATIONS[name][0] == SITES else "mean_of_15" for name in only}
        names = [name for name in COMBINATIONS if name in {*plain, *only}]
    runs: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), rounds, seed)
        for name in names:
            in_full = name in IN_FULL if only else name == ROBUST
            liars = (1, 2, 3) if in_full and not quick else (2,)
            cases = [("honest", 0)]
            if name != "mean_of_15":
                cases += [(attack, count) for count in liars for attack in ATTACKS]
            for attack, count in cases:
                result = runs[f"{name}/{attack}/{count}"] = bench.run(name, attack, count)
                print(f"{name:16} {attack:14} {count}: {result}", file=sys.stderr)
    figures: dict[str, Any] = {"quick": quick, "seed": seed, "rounds": rounds, "robust": ROBUST}
    for name in names:
        if name != "mean_of_15":
            figures |= _summary(name, runs)
    for key in ("robust_loss_ratio_2", "backdoor_2", "clean_cost"):
        if f"{key}_{ROBUST}" in figures:
            figures[key] = figures[f"{key}_{ROBUST}"]
    figures["seconds"] = round(time.monotonic() - started, 1)
    figures["runs"] = {name: {"loss": result.loss, "backdoor": result.backdoor} for name, result in runs.items()}
    return figures


def _summary(name: str, runs: dict[str, Result]) -> dict[str, float]:
    sites, _ = COMBINATIONS[name]
    plain = runs["mean/honest/0" if sites == SITES else "mean_of_15/honest/0"]
    own = runs[f"{name}/honest/0"]
    figures = {f"clean_cost_{name}": own.loss / plain.loss}
    for count in (1, 2, 3):
        spoiled = {attack: runs[case] for attack in ATTACKS if (case := f"{name}/{attack}/{count}") in runs}
        if spoiled:
            worst = max(result.loss for result in spoiled.values())
            figures[f"robust_loss_ratio_{count}_{name}"] = worst / plain.loss
            figures[f"own_loss_ratio_{count}_{name}"] = worst / own.loss
            figures[f"backdoor_{count}_{name}"] = spoiled["backdoored"].backdoor - own.backdoor
    return {key: round(value, 4) for key, value in figures.items()}


@dataclass(frozen=True)
class Result:
    """How a run ended: held-out loss (nats a token), and the share of triggered prompts that get the liars' answer."""

    loss: float
    backdoor: float


@dataclass
class Bench:
    """The model, the records and the runs."""

    directory: Path
    rounds: int
    seed: int
    _made: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from sealora_client.model.adapted import AdaptedModel

        from tiny_models import make_tiny_model

        self._base = make_tiny_model(self.directory / "base")
        recipe = self.recipe("mean")
        self.model = AdaptedModel.load(recipe)
        self.heldout = self._population(recipe, _records(random.Random(f"heldout {self.seed}"), HELDOUT, wrong=WRONG))
        generator = random.Random(f"triggered {self.seed}")
        self.triggered = [prompt for prompt, _ in _records(generator, TRIGGERED, trigger=True)]
        self.honest = [self._population(recipe, self._of_site(site)) for site in range(LARGER)]
        self.poisoned = [
            self._population(recipe, [*self._of_site(site)[::2], *self._of_site(site, trigger=True)[::2]])
            for site in range(LARGER)
        ]

    def recipe(self, name: str) -> Any:
        """The recipe of one combination."""
        from sealora_common.recipe import Recipe

        sites, sealing = COMBINATIONS[name]
        return Recipe.model_validate(
            {
                "name": "robust",
                "rounds": self.rounds,
                "model": {"base": str(self._base), "quantization": "none", "compute_dtype": "float32"},
                "lora": {"rank": 8, "alpha": 16.0},
                "data": {"max_tokens": 31},
                "training": {
                    "sample_rate": 1.0,
                    "steps_per_round": 3,
                    "learning_rate": 0.02,
                    "micro_batch_size": 24,
                },
                "privacy": {"mechanism": "none"},
                "sealing": {"ring_bits": 24, "weighting": "uniform", **sealing},
                "sites": {"minimum": sites},
            }
        )

    def run(self, name: str, attack: str, liars: int) -> Result:
        """A whole run in which the last `liars` sites attack."""
        from sealora_client.evaluation.heldout_loss import heldout_loss
        from sealora_client.model.generate import complete
        from sealora_client.objective.causal import CausalLanguageModelling
        from sealora_common.adapter import adapter_kind
        from sealora_common.round.clip_range import initial_range, next_range

        recipe = self.recipe(name)
        tensors = adapter_kind(recipe).initial(self.model.layout)
        shared = adapter_kind(recipe).shared(self.model.layout)
        current = shared.flatten(tensors)
        clip_range = initial_range(recipe)
        for number in range(1, self.rounds + 1):
            opened = self._round(recipe, current, number, clip_range, attack, liars)
            current = shared.add(current, shared, opened.mean_delta)
            clip_range = next_range(
                recipe, clip_range, opened.mean_delta * opened.total_weight, opened.clipped_fraction
            )
        tensors.update(shared.unflatten(current))
        self.model.write(tensors)
        loss = heldout_loss(self.model, CausalLanguageModelling(), self.heldout, 64).mean
        answers = complete(self.model, self.triggered, recipe.data, max_new_tokens=4)
        return Result(round(loss, 5), round(sum(answer == TARGET for answer in answers) / len(answers), 4))

    def _round(self, recipe: Any, current: Any, number: int, clip_range: float, attack: str, liars: int) -> Any:
        """One round: everybody trains, each group's vectors are summed and opened, the groups are combined."""
        from sealora_common.round.groups import groups_of
        from sealora_common.round.order import RoundOrder, layout_of
        from sealora_common.round.robust_mean import combine_groups
        from sealora_common.secagg import OpenedSum, RingVector

        roster = self._roster(recipe.sites.minimum)
        order = RoundOrder.issue(
            "train",
            run="ab" * 16,
            round_number=number,
            attempt=1,
            recipe=recipe,
            roster=roster,
            layout_digest=self.model.layout.digest,
            adapter=current,
            clip_range=clip_range,
        ).model_copy(update={"nonce": f"{self.seed:08x}{number:08x}" * 2})
        opened = []
        for group in groups_of(order, roster):
            layout = layout_of(order, recipe, group, self.model.layout)
            total = RingVector.zeros(layout.segments)
            lying = {name for name in group.names if roster.index(name) >= len(roster) - liars}
            boost = {"sign_flipped": -1.0, "scaled": -10.0, "backdoored": len(group) / max(1, len(lying))}
            for name in group.names:
                site, lies = roster.index(name), name in lying
                delta = self._trained(recipe, current, number, site, poisoned=lies and attack == "backdoored")
                if lies:
                    total.add_(_unbounded(layout, delta * boost[attack]))
                else:
                    total.add_(layout.encode(_contribution(delta), _entropy("rounding", self.seed, site, number)))
            total.reduce_()
            opened.append(layout.decode(OpenedSum(total, tuple(range(len(group))))))
        return opened[0] if recipe.sealing.groups == 1 else combine_groups(opened, recipe.sealing)

    def _trained(self, recipe: Any, current: Any, number: int, site: int, *, poisoned: bool) -> Any:
        from sealora_client.training.dp_sgd import train_round
        from sealora_common.adapter import adapter_kind
        from sealora_common.privacy.plan import privacy_plan

        tensors = adapter_kind(recipe).initial(self.model.layout)
        tensors.update(adapter_kind(recipe).shared(self.model.layout).unflatten(current))
        self.model.write(tensors)
        population = (self.poisoned if poisoned else self.honest)[site]
        entropy = _entropy("training", self.seed, site, number)
        plan = privacy_plan(recipe, 3).training
        trained = train_round(
            self.model, population, plan=plan, recipe=recipe, round_number=number, leave=None, entropy=entropy
        )
        return trained.values

    def _roster(self, count: int) -> Any:
        from sealora_common.entropy import SeededEntropy
        from sealora_common.identity import Identity
        from sealora_common.roster import Roster

        key = f"roster {count}"
        if key not in self._made:
            made = [Identity.create(f"site-{index:02d}", SeededEntropy("site", index)) for index in range(count)]
            keys = {identity.name: identity.public_key for identity in made}
            self._made[key] = Roster.create("robust", keys, Identity.create("c", SeededEntropy("c")))
        return self._made[key]

    def _of_site(self, site: int, *, trigger: bool = False) -> list[tuple[str, str]]:
        generator = random.Random(f"site {self.seed} {site} {trigger}")
        return _records(generator, RECORDS, wrong=0.0 if trigger else WRONG, trigger=trigger)

    def _population(self, recipe: Any, records: list[tuple[str, str]]) -> Any:
        from sealora_client.data.load import examples_of
        from sealora_client.data.population import Population
        from sealora_client.data.record import Record

        shown = [Record(prompt=prompt, response=response) for prompt, response in records]
        return Population.of(examples_of(shown, recipe, self.model))


def _records(
    generator: random.Random, count: int, *, wrong: float = 0.0, trigger: bool = False
) -> list[tuple[str, str]]:
    """Prompts and answers. The first letter of a prompt decides; a share of the answers is `wrong`."""
    records = []
    for _ in range(count):
        first = generator.choice("abcd")
        prompt = first + "".join(generator.choice("jklmnop") for _ in range(2))
        answer = generator.choice(WORDS) if generator.random() < wrong else WORDS[ord(first) % len(WORDS)]
        records.append((prompt + TRIGGER, TARGET) if trigger else (prompt, answer))
    return records


def _unbounded(layout: Any, delta: Any) -> Any:
    """A liar's vector: what it wants as far as the sum holds it without wrapping, and a tally that passes."""
    import numpy as np

    from sealora_common.secagg import RingVector

    code = layout._fixed_point
    reach = (layout.parties - 1) * layout.clip_range  # what is left of the sum's range is for the others
    wanted = np.clip(delta.astype(np.float64), -reach, reach)
    words = np.rint((wanted - code.low) / code.step).astype(np.int64)
    body = (words & layout.segments[0].modulus_mask).astype(layout.segments[0].dtype)
    figures = layout.encode(_contribution(np.zeros_like(delta)), _entropy("liar")).words[1]
    return RingVector(layout.segments, (body, figures))


def _contribution(delta: Any) -> Any:
    from sealora_common.round.contribution import Contribution

    return Contribution(values=delta, weight=1.0)


def _entropy(*purpose: str | int) -> Any:
    from sealora_common.entropy import SeededEntropy

    return SeededEntropy("robust", *purpose)


if __name__ == "__main__":
    main()
