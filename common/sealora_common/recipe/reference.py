"""The page of all fields of a recipe, made from the schema: `python -m sealora_common.recipe.reference`.

`docs/recipe.md` is what this prints, and a test holds it to that.
"""

from __future__ import annotations

from typing import Final

from sealora_common.config.field_tables import field_tables
from sealora_common.recipe.schema import Recipe
from sealora_common.show.say import say

_HEAD: Final = """# The recipe, field by field

Made from the schema by `make reference`; what is written here is what is checked. A recipe is a YAML file, and
`sealora simulate RECIPE key.path=value` overrides a field of it from the command line. All parties of a federation run
the same recipe: they know it by a hash over all that is below, but for what says that it is not part of it.

A field that is left out has its default. An unknown field is refused, with its name.
"""


def reference() -> str:
    """The page, as Markdown."""
    return "\n".join([_HEAD, *field_tables(Recipe)])


if __name__ == "__main__":
    say(reference().rstrip(), lines=True)
