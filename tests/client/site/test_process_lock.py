from __future__ import annotations

import subprocess
import sys

import pytest

from sealora_client.site.process_lock import LOCK, only_process
from sealora_common.errors import PolicyError, StorageError


def test_a_site_is_run_by_one_process_at_a_time(tmp_path):
    code = f"""
from pathlib import Path
from sealora_client.site.process_lock import only_process
with only_process(Path({str(tmp_path)!r})):
    print("mine")
"""
    with only_process(tmp_path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
        assert done.stdout == ""
        assert "another process runs this site already" in done.stderr
        with pytest.raises(PolicyError, match="another process runs this site already"), only_process(tmp_path):
            pass
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "mine\n"  # the lock goes with its process, whatever became of the file


def test_a_directory_that_cannot_be_locked_is_said(tmp_path):
    with pytest.raises(StorageError, match=LOCK), only_process(tmp_path / "nowhere"):
        pass
