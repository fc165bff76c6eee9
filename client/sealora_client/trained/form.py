"""The forms in which a trained adapter is handed on."""

from __future__ import annotations

from typing import Literal

Form = Literal["peft", "merged", "onnx"]
"""`peft`: the adapter alone. `merged`: a whole model for transformers. `onnx`: a whole model for ONNX's runtimes."""
