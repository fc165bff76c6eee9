"""The one file by which a site is asked to take part, and by which it is later told who else does.

`invitation`  what is in it, how it is read, and what its signature proves

What becomes of it at a site is `sealora_client.joining`'s; who writes it is `sealora_server.deployment.inviting`.
"""

from sealora_common.invitation.invitation import INVITATION_FILE, Invitation

__all__ = ["INVITATION_FILE", "Invitation"]
