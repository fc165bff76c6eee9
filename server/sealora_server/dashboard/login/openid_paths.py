"""Where the way to a login service begins and ends."""

from typing import Final

OPEN: Final = "/login/openid/"
"""Beginning of the paths that anybody may ask."""
BEGIN: Final = f"{OPEN}begin"
BACK: Final = f"{OPEN}back"
