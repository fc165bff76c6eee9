"""A server that demands another person's approval, on the bench of `run_host`."""

from __future__ import annotations

import yaml

from sealora_server.deployment.operator.person import Person

ANNA = Person(name="anna")
BERT = Person(name="bert")


def require(bench, **approval):
    """Has the server demand approval from its next start on."""
    values = {"hosts": ["localhost"], "dashboard": {}, "approval": {"required": True, **approval}}
    bench.server.config_file.write_text(yaml.safe_dump(values))
    bench.server.__dict__.pop("config", None)


def told(operations, name="r1"):
    """What is told of a run."""
    return next(run for run in operations.statuses(frozenset()) if run.name == name)


def digest_of(operations, name="r1"):
    """What stands for its recipe and roster."""
    return told(operations, name).approval.digest
