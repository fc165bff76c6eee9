"""What goes wrong with a server as a whole."""

from __future__ import annotations

from sealora_common.errors import SealoraError


class DeploymentError(SealoraError):
    """A server's directory, configuration, certificates or processes are not as they must be."""
