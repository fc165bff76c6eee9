"""docs/settings.md is what `make reference` makes of the schemas, and says something of every field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sealora_client.site import reference as site
from sealora_client.site.config import SiteConfig
from sealora_client.site.policy import SitePolicy
from sealora_server.deployment import reference as server
from sealora_server.deployment.config import ServerConfig

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| `")]


def test_the_page_is_what_the_schemas_say_now():
    assert f"{server.reference().rstrip()}\n\n{site.reference().rstrip()}\n" == PAGE, "run `make reference`"


@pytest.mark.parametrize("kind", [ServerConfig, SiteConfig, SitePolicy])
def test_every_field_that_a_person_may_write_is_there(kind):
    for name in kind.model_fields:
        assert f"| `{name}` |" in PAGE or f"### `{name}`" in PAGE, name


@pytest.mark.parametrize("row", ROWS)
def test_every_field_says_what_it_takes_what_it_is_otherwise_and_what_it_means(row):
    _, name, takes, default, meaning, _ = re.split(r"(?<!\\)\|", row)
    assert all(part.strip() for part in (takes, default)), name
    assert len(meaning.strip()) > 10, f"{name} has no docstring under it"


def test_a_new_server_and_a_new_policy_point_to_the_page():
    for module in ("server/sealora_server/deployment/initialise.py", "client/sealora_client/site/initial_files.py"):
        assert "docs/settings.md" in (ROOT / module).read_text(encoding="utf-8")
