"""DoRA (Liu et al. 2024, arXiv:2402.09353): LoRA for the direction of each output's weights, a vector for their length.

W' = m (W + s B A) / ||W + s B A||, row by row, with the norm as a constant in gradients (sec. 4.3 there). The vector m
begins with the norms of the base model's weights, which sites say in their greeting, and is trained in every round.

>>> Dora(LoraSection()).tensor_names("m")
('m.lora_A.weight', 'm.lora_B.weight', 'm.lora_magnitude_vector')
"""

from __future__ import annotations

from dataclasses import dataclass

from sealora_common.adapter.kind import AdapterKind
from sealora_common.adapter.kinds.lora import Lora, LoraConfiguration
from sealora_common.adapter.layout import AdapterLayout, Tensors
from sealora_common.recipe.sections.lora import LoraSection
from sealora_common.recipe.sections.model import ModelSection

_MAGNITUDE = ".lora_magnitude_vector"


class DoraConfiguration(LoraConfiguration):
    """PEFT's `LoraConfig` with DoRA."""

    use_rslora: bool
    use_dora: bool = True


@dataclass(frozen=True)
class Dora(AdapterKind):
    """The recipe's section `lora`; a magnitude has shape (out_features,)."""

    section: LoraSection

    def tensor_names(self, module: str) -> tuple[str, ...]:
        """A, B, and the magnitudes."""
        return (*self._directions.tensor_names(module), module + _MAGNITUDE)

    def initial(self, layout: AdapterLayout) -> Tensors:
        """As LoRA's, and the base model's magnitudes."""
        return self._directions.initial(_without_magnitudes(layout)) | layout.base_values()

    def shared(self, layout: AdapterLayout) -> AdapterLayout:
        """All that any round trains."""
        return self._with_magnitudes(layout, self._directions.shared(_without_magnitudes(layout)))

    def trained(self, layout: AdapterLayout, round_number: int) -> AdapterLayout:
        """The matrices after `lora.aggregation`, and the magnitudes in every round."""
        return self._with_magnitudes(layout, self._directions.trained(_without_magnitudes(layout), round_number))

    def peft_configuration(self, model: ModelSection, layout: AdapterLayout) -> DoraConfiguration:
        """PEFT's own, for the layers that the tensors belong to."""
        told = self._directions.peft_configuration(model, _without_magnitudes(layout)).model_dump()
        return DoraConfiguration.model_validate({**told, "use_rslora": self.section.scaling == "sqrt_rank"})

    @property
    def _directions(self) -> Lora:
        return Lora(self.section)

    def _with_magnitudes(self, layout: AdapterLayout, part: AdapterLayout) -> AdapterLayout:
        kept = set(part.names)
        return AdapterLayout(
            tuple(spec for spec in layout.tensors if spec.name in kept or spec.name.endswith(_MAGNITUDE))
        )


def _without_magnitudes(layout: AdapterLayout) -> AdapterLayout:
    return AdapterLayout(tuple(spec for spec in layout.tensors if not spec.name.endswith(_MAGNITUDE)))
