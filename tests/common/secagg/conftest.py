"""Settings of all property tests: a busy machine is not a failure, so an example has no deadline of its own."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
