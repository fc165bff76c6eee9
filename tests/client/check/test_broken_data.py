"""`sealora-site check` tells all that is wrong with a site's data, a line each, and never ends in a traceback."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from enrolled_site import EnrolledSite

from broken_files import BROKEN
from check_site import not_passed


@pytest.fixture(scope="module")
def alone(tmp_path_factory, tiny_base) -> EnrolledSite:
    """A site without a server."""
    return EnrolledSite(tmp_path_factory.mktemp("alone"), tiny_base(), None)


@pytest.mark.parametrize("case", BROKEN)
def test_the_check_tells_all_of_it(alone, case, tmp_path: Path):
    broken, directory = BROKEN[case], alone.directory / "data"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    broken.build(directory / broken.file)
    alone.configure(data=f"data/{broken.file}")
    found = [(status, said) for status, check, said in not_passed(alone, "--quick") if check == "records"]
    assert [status for status, _ in found] == ["fail"] * len(broken.said), found
    for pattern, (_, said) in zip(broken.said, found, strict=True):
        assert re.search(pattern, said), said
