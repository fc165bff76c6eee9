"""A fact that several pages state is one fact: the demo's figures, and what stands beside other software."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from sealora_common.recipe import load_recipe

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()
DEMO = (PROJECT / "docs" / "demo.md").read_text()
RESULTS = (PROJECT / "docs" / "results.md").read_text()
HOSPITALS = RESULTS.partition("\n## The demo\n")[2].partition("\n## ")[0]
RECIPE = load_recipe(PROJECT / "configs" / "triage.yaml")
NUMBERS = {3: "three", 10: "ten"}


def one(pattern: str, text: str) -> tuple[str, ...]:
    """The groups of the pattern's only match."""
    found = list(re.finditer(pattern, text))
    assert len(found) == 1, (pattern, len(found))
    return found[0].groups()


def whole(percent: str) -> str:
    """A percentage without its decimals, as a person rounds it."""
    return str(Decimal(percent).quantize(Decimal(1), ROUND_HALF_UP))


def measured(row: str) -> str:
    """What docs/demo.md measured."""
    return one(rf"\| {row} \| (.*?) \|", DEMO)[0]


def test_the_demo_s_figures_are_the_same_in_readme_and_on_its_page() -> None:
    (before,) = one(r"^([\d.]+) %$", measured("exact match on 240 held-out diagnoses, base model"))
    after, low, high = one(r"^([\d.]+) % \(95 % interval ([\d.]+) to ([\d.]+) %\)", measured("after the federation.*?"))
    (spent,) = one(r"^([\d.]+)$", measured("the most epsilon that any site spent.*?"))
    told = f"held-out exact match {after} % from {before} % at epsilon {spent} of {RECIPE.privacy.epsilon:g}"
    assert f"![The demo's report: {told}]" in README
    around = int(round(Decimal(after), -1))
    assert f"({whole(before)} % before, some {around} % after)" in README
    assert float(low) < float(after) < float(high)
    minutes = int(one(r"^(\d+) min", measured("time in a fresh clone.*?"))[0])
    assert f"{NUMBERS[minutes + 1]} minutes on two cores, the installation included" in README


def test_the_demo_s_recipe_is_what_its_page_and_readme_say() -> None:
    rounds, epsilon, delta = one(r"after the federation's (\w+) rounds, epsilon (\d+), delta (\S+) at every site", DEMO)
    assert (rounds, float(epsilon), float(delta)) == (
        NUMBERS[RECIPE.rounds],
        RECIPE.privacy.epsilon,
        RECIPE.privacy.delta,
    )
    sites = RECIPE.sites.simulated
    assert f"{NUMBERS[len(sites)]} hospitals teach a 135M-parameter model" in README
    assert f"{NUMBERS[len(sites)].capitalize()} hospitals teach one model" in DEMO
    assert len(measured("training records").split(", ")) == len(sites)
    assert f"{len(sites) * RECIPE.data.heldout_limit} held-out diagnoses" in DEMO


def test_what_joining_is_worth_is_the_same_in_readme_and_in_the_results() -> None:
    alone = [Decimal(found) for found in re.findall(r"\| [\w-]+ alone \| ([\d.]+) %", HOSPITALS)]
    assert len(alone) == len(RECIPE.sites.simulated)
    (federated,) = one(r"\| \*\*federated\*\* \| \*\*([\d.]+) %\*\*", HOSPITALS)
    (margin,) = one(r"\*\*Federated minus the best site alone is \+([\d.]+) ±", HOSPITALS)
    (open_,) = one(r"\| federated, no privacy \| ([\d.]+) %", HOSPITALS)
    (pooled,) = one(r"\| pooled records \| ([\d.]+) %", HOSPITALS)
    told = (
        f"each hospital alone {whole(str(min(alone)))} to {whole(str(max(alone)))} %, federated {federated} %, "
        f"without privacy {open_} %, records pooled {pooled} %"
    )
    assert f"![Held-out exact match: {told}]" in README
    assert abs(Decimal(federated) - max(alone) - Decimal(margin)) <= Decimal("0.1")  # each was rounded by itself
    for hospital, figure in re.findall(r"\| ([\w-]+) alone \| ([\d.]+) %", HOSPITALS):
        by_site = one(rf"\| {hospital} alone \|[^\n]*?\| ([\d.]+) % \| ([\d.]+) % \| ([\d.]+) % \|", HOSPITALS)
        assert abs(sum(map(Decimal, by_site)) / 3 - Decimal(figure)) <= Decimal("0.1")


def test_what_privacy_costs_is_the_same_in_readme_and_in_the_table() -> None:
    page = (PROJECT / "docs" / "privacy.md").read_text().partition("\n## What it costs in usefulness\n")[2]
    row = r"\| {} \| {} \| 3 \| [\d.]+ \| [\d.]+ \| \*\*([\d.]+) %\*\* \([^)]+\) \| ([\d.]+) MB \|"

    def recovered(what: str, epsilon: int) -> tuple[str, str]:
        share, sent = one(row.format(what, epsilon), page)
        return share, sent

    (at_8, sent), (at_2, _) = recovered("`values`", 8), recovered("`values`", 2)
    (local_8, _), (local_2, _) = recovered("`values` under `local`", 8), recovered("`values` under `local`", 2)
    person, _ = recovered(r"`values`, by person \(four records each, delta 5e-4\)", 8)
    said = " ".join(README.partition("What does privacy cost?")[2].partition("\n\n")[0].split())
    assert f"noise at epsilon 8 leaves {at_8} % and at epsilon 2 {at_2} % (three seeds)" in said
    assert f"a site sends {Decimal(sent).quantize(Decimal('0.1'), ROUND_HALF_UP)} MB in the whole run" in said
    assert f"with noise at each site it is {local_8} and {local_2} %" in said
    assert f"rather than records {person} % at epsilon 8" in said


def test_what_stands_beside_other_software_is_one_table_and_each_cell_has_its_source() -> None:
    def table(text: str) -> list[list[str]]:
        lines = text.partition("| | Sealora |")[2].partition("\n\n")[0].splitlines()
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]

    ours, theirs = table(README.replace("(docs/", "(")), table((PROJECT / "docs" / "peers.md").read_text())
    assert ours == theirs
    assert len(theirs) > 10
    for row in theirs[2:]:
        for cell in row[1:]:
            assert re.search(r"\]\(\S+\)|not found|no federation", cell), (row[0], cell)
