from __future__ import annotations

import pytest

from sealora_common.storage.lock import DirectoryLock, LockedError
from sealora_server import app
from sealora_server.run.store import RunStore

from pure_sites import pure_recipe


def test_a_second_serverapp_does_not_touch_a_run_that_another_process_works_on(tmp_path, monkeypatch):
    store = RunStore.create(tmp_path / "run", pure_recipe())
    monkeypatch.setattr(app, "run_rounds", lambda *_: pytest.fail("it began"))
    with DirectoryLock(store.directory, "this run"), pytest.raises(LockedError):
        app.serve(None, store.directory)
