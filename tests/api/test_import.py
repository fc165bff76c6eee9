"""`import sealora` costs nothing, loads each name when it is asked for, and sets what libraries read beforehand."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import sealora

HEAVY = ("torch", "flwr", "transformers", "peft", "ray", "pandas", "datasets", "numpy", "pydantic", "rich")
SETTINGS = ("FLWR_TELEMETRY_ENABLED", "FLWR_DISABLE_UPDATE_CHECK", "GOMP_SPINCOUNT")


def child(code: str, **environment: str) -> dict:
    own = {name: value for name, value in os.environ.items() if name not in SETTINGS} | environment
    done = subprocess.run(
        [sys.executable, "-c", code], env=own, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_importing_it_loads_no_library_and_turns_reports_home_off():
    found = child(
        "import json, os, sys, sealora\n"
        f"print(json.dumps([sorted(set({HEAVY!r}) & set(sys.modules)), [os.environ[name] for name in {SETTINGS!r}]]))"
    )
    assert found == [[], ["0", "1", "10000"]]


def test_naming_what_it_has_loads_no_torch():
    found = child(
        "import json, sys\nfrom sealora import *\nimport sealora\n"
        "here = [name in globals() for name in sealora.__all__]\n"
        f"print(json.dumps([all(here), sorted(set({HEAVY!r}) & set(sys.modules))]))"
    )
    assert found[0]
    assert not {"torch", "transformers", "peft", "pandas", "datasets"} & set(found[1])


def test_what_somebody_has_set_is_left():
    code = "import json, os, sealora\nprint(json.dumps(os.environ['FLWR_TELEMETRY_ENABLED']))"
    assert child(code, FLWR_TELEMETRY_ENABLED="1") == "1"


def test_the_names_are_there_and_no_others():
    assert dir(sealora) == sorted(sealora.__all__)
    assert set(sealora.__all__) == {*sealora._HOMES, "SealoraError", "__version__"}
    assert all(getattr(sealora, name) is not None for name in sealora.__all__)
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        sealora.simulat  # noqa: B018
