"""A site that has heard of no round yet."""

from __future__ import annotations

import pytest

from sealora_client.round.history import History

from quorum import RUN


@pytest.fixture
def history(tmp_path) -> History:
    return History(tmp_path, RUN)
