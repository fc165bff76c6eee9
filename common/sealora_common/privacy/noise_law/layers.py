"""What noise leaves of the records in a part of the layers, were these trained alone.

Noise is as long on each coordinate as on any other, so over fewer of them it is shorter, and what gradients have in
common need not be spread as evenly. Where it lies, noise does not tell; from which share on it pays does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sealora_common.adapter import AdapterLayout
from sealora_common.privacy.noise_law.step_noise import StepNoise
from sealora_common.privacy.noise_law.worth import AGREEMENT, worth

_TENSORS_OF_A_LAYER = ".lora_"


@dataclass(frozen=True)
class NamedLayers:
    """All layers whose names end alike, as `target_modules` names them.

    Attributes:
        name: that end: `v_proj`.
        parameters: P, trained in a round; the most of any round.
        worth: steps without noise that a run is worth which trains them alone, as a rule.
        pays_from: the share of the mean gradient's squared length that must lie in them for such a run to lower the
            loss more than one that trains all: it is worth so many times as many steps, each of which lowers the loss
            by that share of what a step along all does.
    """

    name: str
    parameters: int
    worth: float
    pays_from: float


def layers_alone(step: StepNoise, rounds: Sequence[AdapterLayout], parameters: int) -> tuple[NamedLayers, ...]:
    """Each part of the layers, the smallest first; none if there is one part, no noise, or no layer has a name.

    Args:
        step: of the recipe that trains all.
        rounds: what is trained in one round after the other, as far as rounds differ.
        parameters: P of all.
    """
    sizes = [_sizes(layout) for layout in rounds]
    names = {name for each in sizes for name in each}
    if not step.noise or len(names) < 2:
        return ()
    largest = {name: max(each[name] for each in sizes) for name in names}
    whole = worth(step, parameters, AGREEMENT)
    alone = {name: worth(step, size, AGREEMENT) for name, size in largest.items()}
    return tuple(
        NamedLayers(name, largest[name], alone[name], whole / alone[name])
        for name in sorted(names, key=lambda name: (largest[name], name))
    )


def layer_name(tensor: str) -> str | None:
    """The end of the name of the layer that a tensor sits on; None for tensors that sit on no linear layer.

    >>> layer_name("base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight")
    'v_proj'
    """
    layer, found, _ = tensor.partition(_TENSORS_OF_A_LAYER)
    return layer.rpartition(".")[2] if found else None


def _sizes(layout: AdapterLayout) -> Counter[str]:
    """Numbers that each part of the layers has."""
    sizes: Counter[str] = Counter()
    for tensor in layout.tensors:
        name = layer_name(tensor.name)
        if name is not None:
            sizes[name] += tensor.size
    return sizes
