"""`site.yaml`: a site's name, where its data is, and whose roster it accepts."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from sealora_common.errors import PolicyError


class SiteConfig(BaseModel):
    """`site.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    data: Path
    coordinator: str
    """The pinned Ed25519 key (hex) of the consortium's coordinator, who signs the roster."""

    @classmethod
    def load(cls, path: Path) -> SiteConfig:
        """Reads `site.yaml`.

        Raises:
            PolicyError: it is missing or malformed.
        """
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise PolicyError(f"{path}: no such file: is this a site's directory?") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            why = " ".join(str(error).split())
            raise PolicyError(f"{path}: cannot be read ({why}): correct the file") from None
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in problem["loc"]) or "site"
            raise PolicyError(f"{path}: {field}: {problem['msg']}: correct it there") from None
