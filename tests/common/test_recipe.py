from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.errors import RecipeError
from sealora_common.recipe import load_recipe, parse_recipe

MINIMAL = "name: test\nrounds: 2\nmodel: {base: some/model}\n"
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def refusal(text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, where="my.yaml", overrides=overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_that_comes_with_sealora_loads(path):
    recipe = load_recipe(path)
    assert recipe.rounds >= 1
    assert recipe.privacy.mechanism != "none"
    assert recipe.sealing.min_survivors >= 3


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_opens_with_the_command_that_runs_it(path):
    opening = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any("sealora" in line and path.name in line for line in opening)


def test_what_is_left_out_has_a_default():
    recipe = parse_recipe(MINIMAL)
    assert (recipe.lora.aggregation, recipe.privacy.mechanism, recipe.sealing.min_survivors) == ("ffa", "local", 3)


def test_a_recipe_survives_being_written_and_read():
    recipe = parse_recipe(MINIMAL, overrides=["lora.target_modules=[a, b]", "privacy.epsilon=3"])
    text = yaml.safe_dump(recipe.model_dump(mode="json"))
    assert parse_recipe(text) == recipe
    assert parse_recipe(text).hash == recipe.hash


ERRORS = {
    "an unknown key": ("training.learning_rat=1", "my.yaml: training.learning_rat: unknown key, did you mean"),
    "an unknown section": ("trainig.x=1", "my.yaml: trainig: unknown key, did you mean 'training'?"),
    "an unknown key like no other": ("training.zzz=1", "my.yaml: training.zzz: unknown key: correct or remove it"),
    "an epsilon of 0": ("privacy.epsilon=0", "my.yaml: privacy.epsilon: 0 will not do: input should be greater than 0"),
    "a negative epsilon": ("privacy.epsilon=-1", "privacy.epsilon: -1 will not do"),
    "an endless epsilon": ("privacy.epsilon=.inf", "privacy.epsilon: inf will not do"),
    "an epsilon of nan": ("privacy.epsilon=.nan", "privacy.epsilon: nan will not do"),
    "a delta of 1": ("privacy.delta=1", "privacy.delta: 1 will not do"),
    "a sample rate above 1": ("training.sample_rate=1.5", "training.sample_rate: 1.5 will not do"),
    "a rank of 0": ("lora.rank=0", "lora.rank: 0 will not do"),
    "no rounds": ("rounds=0", "my.yaml: rounds: 0 will not do"),
    "half a round": ("rounds=1.5", "my.yaml: rounds: 1.5 will not do"),
    "text for a number": ("training.learning_rate=fast", "training.learning_rate: 'fast' will not do"),
    "a ring too narrow": ("sealing.ring_bits=8", "sealing.ring_bits: 8 will not do"),
    "a sum of one": ("sealing.min_survivors=1", "sealing.min_survivors: 1 will not do"),
    "an unknown optimiser": ("server.optimizer=sgd", "server.optimizer: 'sgd' will not do"),
    "a name with a slash": ("name=a/b", "my.yaml: name: 'a/b' will not do"),
    "a site's name with dots": ("sites.simulated={'../x': y}", "sites.simulated"),
    "a section that is a value": ("training=3", "my.yaml: training: 3 will not do"),
    "a digest that is none": ("model.digest=abc", "model.digest: 'abc' will not do"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_names_file_field_and_value(case):
    override, said = ERRORS[case]
    assert said in refusal(MINIMAL, override)


GROUPED = ("sealing.groups=4", "sites.minimum=12")
GROUP_ERRORS = {
    "two groups": (("sealing.groups=2", "sites.minimum=12"), "sealing: groups is 2, and of two groups none outvotes"),
    "no groups": (("sealing.groups=0",), "sealing.groups: 0 will not do"),
    "a trim that leaves nothing": (
        (*GROUPED, "sealing.combine=trimmed_mean", "sealing.trim=2"),
        "trimmed_mean with a trim of 2 needs 5 groups, and there are 4: take 5 or more, or a trim of 1 or less",
    ),
    "too few groups to see who is far from whom": (
        ("sealing.groups=6", "sites.minimum=18", "sealing.combine=multi_krum", "sealing.trim=2"),
        "multi_krum with a trim of 2 needs 7 groups, and there are 6: take 7 or more, or a trim of 1 or less",
    ),
    "no trim is small enough": (
        (*GROUPED, "sealing.combine=multi_krum"),
        "multi_krum with a trim of 1 needs 5 groups, and there are 4: take 5 or more",
    ),
    "as many liars' groups as others": (
        (*GROUPED, "sealing.combine=near_median", "sealing.trim=2"),
        "near_median with a trim of 2 needs 5 groups, and there are 4: take 5 or more, or a trim of 1 or less",
    ),
    "too few sites for the groups": (
        ("sealing.groups=4", "sites.minimum=11"),
        "sites.minimum is 11, but sealing.groups is 4 and each group needs sealing.min_survivors 3 of its own: set "
        "sites.minimum to 12 or more",
    ),
    "groups of a distributed sum": (
        (
            *GROUPED,
            "privacy.mechanism=distributed",
            "training.steps_per_round=1",
            "sealing.ring_bits=24",
        ),
        "privacy.mechanism: distributed needs the noise of all sites in one sum",
    ),
    "a weight that may be nothing": (("sealing.weight_floor=0",), "sealing.weight_floor: 0 will not do"),
    "a floor above one": (("sealing.weight_floor=1.5",), "sealing.weight_floor: 1.5 will not do"),
}


@pytest.mark.parametrize("case", GROUP_ERRORS)
def test_groups_that_cannot_be_or_would_not_help_are_refused(case):
    overrides, said = GROUP_ERRORS[case]
    assert said in refusal(MINIMAL, *overrides)


def test_groups_are_off_unless_asked_for():
    assert parse_recipe(MINIMAL).sealing.groups == 1
    sealing = parse_recipe(MINIMAL, overrides=GROUPED).sealing
    assert (sealing.groups, sealing.combine, sealing.trim) == (4, "median", 1)


def test_a_missing_field_is_named():
    assert refusal("name: a\nrounds: 1\n") == "my.yaml: model: missing: add it"
    assert refusal("name: a\nrounds: 1\nmodel: {}\n") == "my.yaml: model.base: missing: add it"


def test_a_rule_on_a_section_is_said_without_repeating_the_section():
    said = refusal(MINIMAL, "data.fold_persons=true")
    assert said == "my.yaml: data: fold_persons folds identifiers of persons: name their field in data.person_field"
    assert "privacy.epsilon: {'a': 1} will not do" in refusal(MINIMAL, "privacy.epsilon.a=1")


def test_further_problems_are_counted():
    assert refusal("name: a\nrounds: 0\nmodel: {base: b, x: 1}\n").endswith("(1 more below it)")


def test_a_minimum_of_sites_that_can_never_open_a_sum_is_refused():
    said = refusal(MINIMAL, "sealing.min_survivors=5")
    assert "sites.minimum is 3, below sealing.min_survivors 5: no round could ever be opened" in said


BROKEN = {
    "no YAML": ("name: [\n", "my.yaml, line 2"),
    "a list": ("- a\n", "my.yaml: a recipe is a YAML mapping of sections, found list"),
    "nothing": ("", "my.yaml: a recipe is a YAML mapping of sections, found NoneType"),
    "a tab": ("a:\n\t- b\n", "my.yaml, line 2"),
    "an object of Python": ("a: !!python/object/apply:os.system ['true']\n", "my.yaml, line 1"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_recipe_is_refused_with_its_line(case):
    text, said = BROKEN[case]
    assert said in refusal(text)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("rounds", "override 'rounds' is not of the form key.path=value"),
        ("=3", "override '=3' is not of the form"),
        ("a..b=3", "override 'a..b=3' is not of the form"),
        ("rounds=[", "the value is not YAML: quote it"),
        ("rounds.x=1", "'rounds' is a value, not a section"),
    ],
)
def test_a_bad_override_is_quoted(override, said):
    assert said in refusal(MINIMAL, override)


def test_overrides_reach_any_depth_and_the_last_one_counts():
    overrides = ["privacy.epsilon=4", "privacy.epsilon=2", "sites.simulated.a=b.jsonl", "model.revision=null"]
    recipe = parse_recipe(MINIMAL, overrides=overrides)
    assert recipe.privacy.epsilon == 2
    assert recipe.sites.simulated == {"a": "b.jsonl"}
    assert recipe.model.revision is None


def test_an_override_makes_the_section_it_needs():
    assert parse_recipe("name: a\nrounds: 1\n", overrides=["model.base=x/y"]).model.base == "x/y"


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(RecipeError, match="no such recipe"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "binary.yaml")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path)


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        parse_recipe(MINIMAL).rounds = 9


def test_the_noise_covers_the_steps_of_all_rounds():
    recipe = parse_recipe(MINIMAL, overrides=["training.steps_per_round=7"])
    assert (recipe.accounted_rounds, recipe.accounted_steps) == (recipe.rounds, 7 * recipe.rounds)


def test_the_noise_of_a_distributed_recipe_covers_spare_rounds_too():
    recipe = parse_recipe(MINIMAL, overrides=[*SHARED, "privacy.spare_rounds=3"])
    assert recipe.accounted_rounds == recipe.accounted_steps == recipe.rounds + 3


@pytest.mark.parametrize("mechanism", ["local", "none"])
def test_spare_rounds_are_refused_where_a_repeat_costs_nothing(mechanism):
    overrides = [f"privacy.mechanism={mechanism}", "privacy.spare_rounds=1"]
    said = f"spare_rounds is 1, but only with .* distributed .* here it is {mechanism}: leave spare_rounds out"
    with pytest.raises(RecipeError, match=said):
        parse_recipe(MINIMAL, overrides=overrides)


@pytest.mark.parametrize(("rounds", "every", "spare", "evaluations"), [(5, 1, 0, 6), (5, 2, 3, 4), (1, 9, 0, 2)])
def test_the_noise_on_evaluations_covers_all_there_will_be_and_no_repeats(rounds, every, spare, evaluations):
    overrides = [f"rounds={rounds}", f"training.evaluate_every={every}", *SHARED, f"privacy.spare_rounds={spare}"]
    assert parse_recipe(MINIMAL, overrides=overrides).accounted_evaluations == evaluations


def test_expected_epochs_are_steps_times_the_sampling_rate():
    fifteen = ["rounds=15", "training.epochs=3", "training.sample_rate=0.05", "training.steps_per_round=4"]
    assert parse_recipe(MINIMAL, overrides=fifteen).expected_epochs == pytest.approx(3)
    # Some epochs are no whole number of rounds; the nearest will do, and no other.
    for rounds, fits in ((13, False), (14, True), (15, False)):
        overrides = [f"rounds={rounds}", "training.epochs=2.85"]
        if fits:
            assert parse_recipe(MINIMAL, overrides=overrides).expected_epochs == pytest.approx(2.8)
        else:
            with pytest.raises(RecipeError, match="set rounds to 14"):
                parse_recipe(MINIMAL, overrides=overrides)


def test_a_run_may_end_where_its_patience_can_be_over_and_a_figure_was_just_told():
    def ends(*overrides):
        recipe = parse_recipe(MINIMAL, overrides=["rounds=9", *overrides])
        return [number for number in range(1, 12) if recipe.may_end_after(number)]

    assert ends() == [9]
    assert ends("server.early_stopping={patience: 1}") == [2, 3, 4, 5, 6, 7, 8, 9]
    assert ends("server.early_stopping={patience: 6}") == [7, 8, 9]
    assert ends("server.early_stopping={patience: 2}", "training.evaluate_every=3") == [7, 9]


def test_a_field_that_names_persons_makes_them_the_unit_of_privacy():
    assert parse_recipe(MINIMAL).data.unit == "record"
    assert parse_recipe(MINIMAL, overrides=["data.person_field=patient"]).data.unit == "person"


# Sections that must agree.

SEEDED = ("privacy.mechanism=none", "training.seed=7")
SHARED = ("privacy.mechanism=distributed", "training.steps_per_round=1", "sealing.ring_bits=24")


def test_a_distributed_recipe_may_adapt_clip_by_layer_and_use_any_server_optimiser():
    for more in (
        ("privacy.target_quantile=0.5", "training.optimizer=sgd"),
        ("privacy.clipping=per_layer",),
        ("server.optimizer=fedadam", "server.learning_rate=0.01"),
        ("privacy.honest_survivors=2", "data.person_field=patient"),
    ):
        assert parse_recipe(MINIMAL, overrides=[*SHARED, *more]).privacy.mechanism == "distributed"


CLASHES = {
    "distributed in several steps": ((*SHARED, "training.steps_per_round=2"), "one step a round, but training.steps_p"),
    "distributed on a narrow ring": ((*SHARED, "sealing.ring_bits=19"), "needs sealing.ring_bits of 20 or more"),
    "distributed with a rotation": ((*SHARED, "sealing.rotation=true"), "leave out sealing.rotation and"),
    "distributed with a range": ((*SHARED, "sealing.clip_range=0.5"), "leave out sealing.rotation and"),
    "distributed with a site's decay": (
        (*SHARED, "training.weight_decay=0.1"),
        "weight_decay belongs to steps",
    ),
    "distributed with a site's pull": ((*SHARED, "training.proximal_mu=1"), "the server takes them: leave it out"),
    "distributed with a site's betas": ((*SHARED, "training.betas=[0.8, 0.9]"), "training.betas belongs to steps"),
    "a seed of local": (("training.seed=7",), "training.seed is 7, but with privacy.mechanism: local samples"),
    "a seed of distributed": ((*SHARED, "training.seed=7"), "must be secret, and would follow from it: leave it out"),
    "a seed and a rotation": ((*SEEDED, "sealing.rotation=true"), "rotations and groups are drawn anew in each"),
    "a seed and groups": ((*SEEDED, "sealing.groups=3", "sites.minimum=9"), "leave out sealing.rotation and"),
    "other epochs": (("training.epochs=3",), "epochs is 3, but 2 rounds of 4 steps at sample_rate 0.05 are 0.4 exp"),
    "epochs without end": (("training.epochs=1.0e+308", "training.sample_rate=1.0e-300"), "set rounds to 100000, or"),
    "a pull without end": (("training.proximal_mu=.inf",), "training.proximal_mu"),
    "what to do about them": (("training.epochs=3",), "set rounds to 15, or leave epochs out"),
    "patience that never ends": (
        ("server.early_stopping={patience: 2}",),
        "a patience of 2, and with training.evaluate_every 1 a run of 2 rounds is over before that",
    ),
    "momentum of AdamW": (("training.momentum=0.9",), "momentum is SGD's, and the optimizer is adamw: set betas"),
    "betas of SGD": (("training.optimizer=sgd", "training.betas=[0.8, 0.9]"), "betas and eps are AdamW's"),
    "distributed with sites alike": ((*SHARED, "sealing.weighting=uniform"), "set sealing.weighting to records"),
    "folding nobody": (("data.fold_persons=true",), "fold_persons folds identifiers of persons: name their field"),
    "adapting without privacy": (
        ("privacy.mechanism=none", "privacy.target_quantile=0.5"),
        "privacy.target_quantile adapts one clipping norm to noisy counts",
    ),
    "adapting by layer": (
        ("privacy.clipping=per_layer", "privacy.target_quantile=0.5"),
        "it needs privacy.clipping: flat",
    ),
    "adapting with plain steps": (
        ("training.optimizer=sgd", "privacy.target_quantile=0.5"),
        "privacy.target_quantile changes the size of SGD's steps",
    ),
    "alternating with momentum": (
        ("lora.aggregation=alternating", "server.optimizer=fedadam"),
        "alternating works with server.optimizer: fedavg only",
    ),
}


@pytest.mark.parametrize("case", CLASHES)
def test_sections_that_clash_are_refused_with_a_remedy(case):
    overrides, said = CLASHES[case]
    assert said in refusal(MINIMAL, *overrides)


def said_of(text: str, *overrides: str) -> str:
    try:
        parse_recipe(text, overrides=overrides)
    except RecipeError as error:
        return str(error)
    return ""


@given(st.text(max_size=60))
def test_no_text_makes_the_parser_raise_anything_but_its_own_error(text):
    assert "\n" not in said_of(text)


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_override_does_either(key, value):
    assert "\n" not in said_of(MINIMAL, f"{key}={value}")
