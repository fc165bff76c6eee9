"""The part of docs/settings.md on a site's files, of their schemas: `python -m sealora_client.site.reference`."""

from __future__ import annotations

from typing import Final

from sealora_client.site.config import SiteConfig
from sealora_client.site.policy import SitePolicy
from sealora_common.config.field_tables import field_tables
from sealora_common.show.say import say

_SITE: Final = """## site.yaml

`sealora-site join` writes it, or `init` begins it. A site reads it when it starts. Relative paths are looked up from
the site's directory.
"""
_POLICY: Final = """## policy.yaml

What no server can override. `sealora-site join` writes one that allows its recipe and no more: what a recipe asks for
beyond a careful policy (epsilon 8, a delta that follows from the number of records, three sites and three survivors, a
malicious server, LoRA, with privacy) is named, and given with `--accept` alone. `init` begins the careful one. A change
counts from the next order on. `sealora-site policy explain RECIPE` says what it means for a recipe.
"""


def reference() -> str:
    """The part of the page on site.yaml and policy.yaml, as Markdown."""
    site, policy = field_tables(SiteConfig, level=3), field_tables(SitePolicy, level=3)
    return "\n".join([_SITE, *site, _POLICY, *policy])


if __name__ == "__main__":
    say(reference().rstrip(), lines=True)
