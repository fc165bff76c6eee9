"""deploy/Dockerfile, stage by stage."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from deploy_files import DEPLOY

FINAL = ("server", "site-cpu", "site-cuda")


@dataclass
class Stage:
    """One stage: its name, the name of the stage or image below it, and its instructions."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        """What follows `instruction`, each time."""
        return [said for name, said in self.instructions if name == instruction]


def read_stages() -> dict[str, Stage]:
    """The stages by name. The variables of `FROM` are left as they are."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    stages: dict[str, Stage] = {}
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        instruction, _, said = line.partition(" ")
        if instruction == "FROM":
            base, _, name = said.partition(" AS ")
            stages[name] = stage = Stage(name, base)
        elif line and stages:
            stage.instructions.append((instruction, said))
    return stages


def layers(target: str) -> list[Stage]:
    """The stages that an image is made of, lowest first."""
    stages = read_stages()
    made = [stages[target]]
    while made[0].base in stages:
        made.insert(0, stages[made[0].base])
    return made


def last(target: str, instruction: str) -> str:
    """What is in force of an instruction in an image."""
    return [said for stage in layers(target) for said in stage.all(instruction)][-1]


def environment(target: str) -> dict[str, str]:
    """The environment variables of an image."""
    pairs = [pair for stage in layers(target) for said in stage.all("ENV") for pair in said.split()]
    return dict(pair.split("=", 1) for pair in pairs)


def command(target: str) -> tuple[str, list[str]]:
    """The program of an image and its arguments, which must be in exec form."""
    (program,) = json.loads(last(target, "ENTRYPOINT"))
    return program, json.loads(last(target, "CMD"))


def health_check(target: str) -> tuple[dict[str, str], list[str]]:
    """The options and the command of an image's health check."""
    options, _, words = last(target, "HEALTHCHECK").partition(" CMD ")
    return dict(option.removeprefix("--").split("=") for option in options.split()), json.loads(words)
