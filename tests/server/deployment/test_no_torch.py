"""A server is installed without torch and without the site package."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import sealora_server.deployment

BLOCKED = {"torch", "transformers", "peft", "opacus", "bitsandbytes", "sealora_client", "ray"}
SCRIPT = """
import importlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocked())
for name in {modules}:
    importlib.import_module(name)
"""


def test_every_module_of_a_server_works_without_what_a_site_needs():
    packages = sealora_server.deployment
    found = [name for _, name, _ in pkgutil.walk_packages(packages.__path__, "sealora_server.deployment.")]
    modules = ["sealora_server.cli.server", *found]
    assert len(modules) > 25
    script = SCRIPT.format(blocked=BLOCKED, modules=modules)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
