"""The adapter as both sides see it: `layout` for any kind, `kind` for what a kind must say, `kinds/` for each of them.

Here belongs what server and sites must agree on to the bit, in NumPy alone. How a kind sits on a model is the site's
(`sealora_client.model.adapters`); how an adapter is written for others is `sealora_common.export`'s.
"""

from sealora_common.adapter.choice import adapter_kind
from sealora_common.adapter.kind import AdapterKind, PeftConfiguration
from sealora_common.adapter.layout import AdapterLayout, Tensors, TensorSpec

__all__ = ["AdapterKind", "AdapterLayout", "PeftConfiguration", "TensorSpec", "Tensors", "adapter_kind"]
