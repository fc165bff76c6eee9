"""The model card that goes with an export: `README.md` in the Hugging Face hub's format.

It says what ran, what is promised to whom against whom, and what is not; nothing of a single site is in it. What others
wrote (names, the system prompt) stands in YAML as a quoted string, and in the text as code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from sealora_client.trained.form import Form
from sealora_client.trained.trained_adapter import TrainedAdapter
from sealora_common import __version__
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.privacy.promise import (
    NO_PROMISE,
    adversary_text,
    limits_of_promise,
    neighbours_text,
    promise_text,
)
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.show.card_head import card_head
from sealora_common.show.quantities import count_text, target_text
from sealora_common.show.safe_text import safe_text

LIBRARIES: Final[dict[Form, str]] = {"peft": "peft", "merged": "transformers", "onnx": "onnx"}


@dataclass(frozen=True)
class CardSubject:
    """What the card is of.

    Attributes:
        trained: the adapter.
        base_name: under which others know the base model.
        licence: identifier of the licence, as the hub has it.
        form: that it is handed on in.
    """

    trained: TrainedAdapter
    base_name: str
    licence: str
    form: Form

    @property
    def is_merged(self) -> bool:
        """Whether the weights are those of a whole model."""
        return self.form != "peft"


def model_card(subject: CardSubject) -> str:
    """The card, as Markdown."""
    recipe = subject.trained.recipe
    sections = [
        card_head(recipe, subject.base_name, subject.licence, library=LIBRARIES[subject.form]),
        f"# {_code(recipe.name)}\n",
        _what_it_is(subject),
        "## How to use it\n\n" + _use(subject),
        "## What ran\n\n" + _table(_ran(subject)),
        "## Privacy\n\n" + _privacy(subject),
        "## Limits\n\n" + _limits(subject),
    ]
    return "\n".join(sections)


def _what_it_is(subject: CardSubject) -> str:
    form = "A whole model: the base model with the adapter merged into it." if subject.is_merged else "A PEFT adapter."
    told = subject.trained.told
    by = f" by {count_text(told.sites, 'site')}" if told.sites else ""
    return (
        f"{form} It was fine-tuned{by} that kept their records to themselves: sealed updates alone left a site "
        f"(Sealora {__version__}).\n"
    )


def _use(subject: CardSubject) -> str:
    recipe = subject.trained.recipe
    loader = "AutoModelForCausalLM" if subject.is_merged else "AutoPeftModelForCausalLM"
    library = "transformers" if subject.is_merged else "peft"
    said: list[dict[str, str]] = []
    if recipe.data.system_prompt is not None:
        said.append({"role": "system", "content": recipe.data.system_prompt})
    said.append({"role": "user", "content": "..."})
    if subject.form == "onnx":
        return _use_of_onnx(said)
    lines = [f"from {library} import {loader}", "from transformers import AutoTokenizer", ""]
    if subject.is_merged:
        lines[:2] = [f"from {library} import {loader}, AutoTokenizer"]
    lines += [
        f'model = {loader}.from_pretrained("DIRECTORY")',
        'tokenizer = AutoTokenizer.from_pretrained("DIRECTORY")',
        f"messages = {json.dumps(said, ensure_ascii=True)}",
        'inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", '
        "return_dict=True)",
        "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=256)[0]))",
    ]
    fence = "```"
    needs = (
        ""
        if subject.is_merged
        else f"The base model {_code(subject.base_name)} must be at hand, the very one: {_digest(subject)}.\n\n"
    )
    prompt = (
        "The model was trained with the system prompt above, and answers best with it.\n\n"
        if recipe.data.system_prompt is not None
        else ""
    )
    return needs + prompt + f"{fence}python\n" + "\n".join(lines) + f"\n{fence}\n"


def _use_of_onnx(said: list[dict[str, str]]) -> str:
    lines = [
        "import onnxruntime",
        "from transformers import AutoTokenizer",
        "",
        'session = onnxruntime.InferenceSession("DIRECTORY/model.onnx")',
        'tokenizer = AutoTokenizer.from_pretrained("DIRECTORY")',
        f"messages = {json.dumps(said, ensure_ascii=True)}",
        'inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="np", '
        "return_dict=True)",
        '(logits,) = session.run(["logits"], {name: inputs[name] for name in ("input_ids", "attention_mask")})',
        "print(tokenizer.decode(logits[0, -1].argmax()))  # the first token of the answer",
    ]
    fence = "```"
    return (
        "One forward pass in float32, which keeps nothing of earlier tokens: each token of an answer takes another.\n\n"
        f"{fence}python\n" + "\n".join(lines) + f"\n{fence}\n"
    )


def _digest(subject: CardSubject) -> str:
    digest = subject.trained.recipe.model.digest
    return f"`sealora-site model digest` of it is `{digest}`" if digest else "its digest was not agreed on"


def _ran(subject: CardSubject) -> list[tuple[str, str]]:
    trained, recipe, told = subject.trained, subject.trained.recipe, subject.trained.told
    model = recipe.model
    rows = [
        ("recipe", f"{_code(recipe.name)}, hash `{recipe.hash}`"),
        ("base model", f"{_code(subject.base_name)}, {_digest(subject)}"),
        ("base model computed in", "4-bit NF4" if model.quantization == "nf4" else model.compute_dtype),
        ("kind of adapter", _code(recipe.adapter)),
        ("adapter", f"`{trained.digest}` (SHA-256 of the values that sites trained)"),
        ("objective", _code(recipe.objective.kind)),
    ]
    if told.run is not None:
        rows.append(("run", f"`{told.run}`"))
    if told.rounds is not None:
        kept = "" if told.kept_round in (None, told.rounds) else f"; the adapter is that of round {told.kept_round}"
        rows.append(("rounds", f"{told.rounds} of {recipe.rounds}{kept}"))
    if told.sites is not None:
        rows.append(("sites", str(told.sites)))
    if recipe.continue_from is not None:
        rows.append(("began with", f"the adapter `{recipe.continue_from}` of an earlier run"))
    if told.after is not None:
        figure = HeldoutFigure.of(recipe)
        rows.append((f"{figure.name} ({figure.unit}, {figure.better} is better)", _figures(subject, figure)))
    return rows


def _figures(subject: CardSubject, figure: HeldoutFigure) -> str:
    told = subject.trained.told
    from_to = f"{figure.text(told.before)} before, {figure.text(told.after)} after"
    if told.is_exact:
        return f"{from_to}: exact means over the sites of a simulation, which nothing protects"
    if told.noise is None:
        return from_to
    return f"{from_to}, each with noise of a standard deviation of {figure.noise_text(told.noise)} at least"


def _privacy(subject: CardSubject) -> str:
    recipe = subject.trained.recipe
    privacy = recipe.privacy
    if not mechanism_of(recipe).protects:
        return f"**{NO_PROMISE}** Do not hand these weights out unless the records are public.\n"
    rows = [
        ("epsilon", f"at most {target_text(privacy.epsilon)}, over all rounds"),
        ("delta", target_text(privacy.delta)),
        ("unit", f"one {recipe.data.unit}, at one site"),
        ("mechanism", f"`{privacy.mechanism}`, clipping norm {target_text(privacy.clip_norm)}"),
        ("adversary", adversary_text(recipe)),
        ("the seal's adversary", f"a server that is `{recipe.sealing.adversary}`"),
    ]
    said = f"{promise_text(recipe)} What is derived from these weights has the same promise."
    return f"{_table(rows)}\n{said}\n\n{neighbours_text(recipe)}\n"


def _limits(subject: CardSubject) -> str:
    recipe = subject.trained.recipe
    lines = [
        *limits_of_promise(recipe),
        "Answers may be wrong, and sound sure. It has not been examined as a medical device: no decision about a "
        "patient may rest on it alone.",
        "Before it is used anywhere, try it on held-out records of that place.",
        "What the base model may not be used for, this may not be used for either: see its licence.",
    ]
    if subject.trained.recipe.model.quantization == "nf4":
        lines.append("It was trained on the base model in 4 bits; on the same base model unquantised answers differ.")
    return "".join(f"- {line}\n" for line in lines)


def _table(rows: list[tuple[str, str]]) -> str:
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {said} |\n" for name, said in rows)


def _code(text: str) -> str:
    """What somebody else wrote, as code in one line of a table."""
    shown = " ".join(safe_text(text).split()).replace("`", "'").replace("|", "/")
    return f"`{shown}`"
