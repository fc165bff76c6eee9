"""The part of docs/settings.md on server.yaml, of its schema: `python -m sealora_server.deployment.reference`."""

from __future__ import annotations

from typing import Final

from sealora_common.config.field_tables import field_tables
from sealora_common.show.say import say
from sealora_server.deployment.config import ServerConfig

_HEAD: Final = """# Settings, field by field

Made from the schemas by `make reference`; what is written here is what is checked. `server.yaml` is the server's, in
its directory; `site.yaml` and `policy.yaml` are a site's, in its own. The recipe, which all agree on, is in
[recipe.md](recipe.md). A field that is left out has its default. An unknown field is refused, with its name.

## server.yaml

`sealora server init` begins it. A server reads it when it starts.
"""


def reference() -> str:
    """The head of the page and its part on server.yaml, as Markdown."""
    return "\n".join([_HEAD, *field_tables(ServerConfig, level=3)])


if __name__ == "__main__":
    say(reference().rstrip() + "\n", lines=True)
