"""What is wrong with a base model's files although they load: told before it is trained on, with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from sealora_common.config import LINE, json_value, read_file
from sealora_common.errors import ModelError, UnreadableError
from sealora_common.recipe.sections.model import ModelSection


def check_quantization(section: ModelSection, directory: Path) -> None:
    """Refuses a base that is quantised otherwise than the recipe says: its own settings would go before the recipe's.

    Raises:
        ModelError: it is.
    """
    own = _own_quantization(directory)
    if not own:
        return
    as_agreed = (
        section.quantization == "nf4"
        and {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": section.compute_dtype,
        }.items()
        <= own.items()
    )
    if not as_agreed:
        raise ModelError(
            f"the base model in {directory} is quantised already ({_named(own)}), which would go before the recipe's "
            f"model.quantization {section.quantization} in {section.compute_dtype}: use the model as it was before that"
        )


def check_weights(directory: Path) -> None:
    """Refuses weights that are no numbers: every loss and every gradient would be none either.

    Reads every tensor of floating point once.

    Raises:
        ModelError: a NaN or an infinity is among them.
    """
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (no mapping, though it has keys)
                tensor = file.get_tensor(name)
                # A sum is not finite if one term is not, and takes no memory; one that overflows is looked at again.
                if not tensor.is_floating_point() or bool(torch.isfinite(tensor.float().sum())):
                    continue
                if not bool(torch.isfinite(tensor.float()).all()):
                    raise ModelError(
                        f"{path}: the weight {name} holds values that are no finite numbers: fetch the model again, or "
                        "use another"
                    )


def _own_quantization(directory: Path) -> dict[str, Any]:
    try:
        configuration: Any = json_value(read_file(directory / "config.json", LINE.longest), nan_is_null=True)
        own = configuration.get("quantization_config") or {}
    except (OSError, UnreadableError, AttributeError):
        return {}  # whoever loads it says that it is damaged
    return dict(own) if isinstance(own, dict) else {"quant_method": str(own)}


def _named(own: dict[str, Any]) -> str:
    """How it is quantised, in a word or two."""
    if own.get("load_in_4bit"):
        double = " doubly" if own.get("bnb_4bit_use_double_quant") else ""
        return f"{own.get('bnb_4bit_quant_type', 'fp4')}{double} in {own.get('bnb_4bit_compute_dtype', 'float32')}"
    if own.get("load_in_8bit"):
        return "int8"
    return str(own.get("quant_method", "by a method of its own"))
