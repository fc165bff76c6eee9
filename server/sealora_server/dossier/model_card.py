"""The card that travels with the adapter, in Hugging Face's format: YAML front matter, then Markdown.

Its first words say whether anything speaks against the model's leaving. What is text of others is fenced or quoted, so
that it is no markup.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sealora_common.dossier.figure import DossierSection, Figure
from sealora_common.dossier.server_part import Dossier
from sealora_common.dossier.writing import figure_text
from sealora_common.recipe import Recipe
from sealora_common.show.card_head import card_head

_IN_CARD = ("run", "data", "model", "method", "privacy", "measured", "memorisation")
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


def model_card(dossier: Dossier, recipe: Recipe, licence: str | None) -> bytes:
    """The card of a dossier's adapter.

    Args:
        dossier: whose figures it shows.
        recipe: the run's.
        licence: of the base model, as a SPDX identifier; None if it is not known.
    """
    base = recipe.model.base
    head = card_head(recipe, base if _HUB_ID.fullmatch(base) else None, licence)
    body = [
        f"**{_quoted(dossier.clearance.first_line)}**",
        f"# {_quoted(dossier.name)}",
        "An adapter that several sites trained together on records that stayed with them. This card is a part of a "
        "signed dossier, which says where each figure is from: `dossier.html`.",
    ]
    if dossier.clearance.against:
        body += ["## What speaks against release", _list(dossier.clearance.against)]
    body += ["## How to load it", _LOAD]
    for section in dossier.sections:
        if section.identifier in _IN_CARD:
            body += [f"## {section.title}", *map(_quoted, section.text), _table(section.figures)]
    body += [f"## {section.title}\n\n{_list(section.text)}" for section in _named(dossier.sections, "limits")]
    text = "\n\n".join(part for part in body if part)
    return f"{head}\n{text}\n".encode()


_LOAD = """```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), ADAPTER_DIRECTORY)
```"""


def _named(sections: Sequence[DossierSection], identifier: str) -> list[DossierSection]:
    return [section for section in sections if section.identifier == identifier]


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {_quoted(sentence)}" for sentence in sentences)


def _table(figures: Sequence[Figure]) -> str:
    if not figures:
        return ""
    rows = [
        f"| {_quoted(figure.name)} | {_quoted(figure_text(figure))} | {_quoted(figure.noise)} |" for figure in figures
    ]
    return "\n".join(["| what | value | noise |", "|---|---|---|", *rows])


def _quoted(text: str) -> str:
    """One line without markup of Markdown or HTML: every mark that could be some is a numbered character."""
    flat = " ".join(text.split())
    return re.sub(r"[&<>|`*_\[\]()#!\\~]", lambda mark: f"&#{ord(mark.group())};", flat)
