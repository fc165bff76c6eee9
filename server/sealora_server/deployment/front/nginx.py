"""nginx as the front: its configuration, from the server's own, and its process."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import sys
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict

from sealora_common.config import LINE, from_json, read_stream
from sealora_common.storage.durable import write_atomically
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.processes.process import die_with
from sealora_server.deployment.superlink.paths import FLEET_PATHS, HEALTH

_SECURE_PATH = ("/usr/sbin", "/usr/local/sbin", "/sbin")


class NginxSettings(BaseModel):
    """What the supervisor tells this process on its standard input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    supervisor: int
    """Process id."""
    program: Path
    config: Path


def nginx_config(server: ServerDirectory, destination: Path, account: tuple[str, str]) -> str:
    """nginx' configuration for this server's front, to lie at `destination`.

    Args:
        server: the server's directory.
        destination: where the configuration will lie.
        account: names of the user and the group that the server runs under.

    Raises:
        DeploymentError: a path in it holds a character that nginx would read otherwise.
    """
    values = {
        "config_file": server.config_file.absolute(),
        "destination": destination,
        "state": _state(server),
        "fleet_socket": server.fleet_socket,
        "certificate": server.certificate,
        "key": server.key,
    }
    for path in values.values():
        if set(str(path)) & set(" ;{}$'\"\\\n"):
            raise DeploymentError(f"{path}: nginx cannot be told a path with such characters: choose another directory")
    environment = Environment(
        loader=PackageLoader("sealora_server.deployment.front", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        autoescape=False,  # noqa: S701 (no HTML; what goes in was checked above)
    )
    environment.filters["milliseconds"] = lambda seconds: round(1000 * seconds)
    config = server.config
    return environment.get_template("nginx.conf.j2").render(
        **values,
        account=account[0],
        group=account[1],
        listen=config.listen,
        limits=config.limits,
        paths=sorted(FLEET_PATHS),
        health=HEALTH,
    )


def own_account() -> tuple[str, str]:
    """Names, or numbers where they have none, of this process's user and group."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    except KeyError:
        return str(os.geteuid()), str(os.getegid())


def prepare_nginx(server: ServerDirectory) -> NginxSettings:
    """Finds nginx and writes its configuration.

    Raises:
        DeploymentError: nginx is not installed, or the configuration asks of it what it cannot do.
        StorageError: a file could not be written.
    """
    search = os.pathsep.join([os.environ.get("PATH", ""), *_SECURE_PATH])
    program = shutil.which("nginx", path=search)
    if program is None:
        raise DeploymentError("nginx is not installed: apt-get install nginx-light, or set front: embedded")
    if server.config.listen.endswith(":0"):
        raise DeploymentError("listen: nginx cannot take a free port: name one, or set front: embedded")
    path = _state(server) / "nginx.conf"
    write_atomically(path, nginx_config(server, path, own_account()).encode())
    return NginxSettings(supervisor=os.getpid(), program=Path(program), config=path)


def _state(server: ServerDirectory) -> Path:
    return server.state / "nginx"


def main() -> None:
    """Becomes nginx."""
    settings = from_json(NginxSettings, read_stream(sys.stdin.buffer, LINE.longest))
    # Its master process ends its workers on SIGTERM; SIGKILL would leave them behind.
    die_with(settings.supervisor, signal.SIGTERM)
    arguments = ["nginx", "-e", "stderr", "-c", str(settings.config), "-g", "daemon off;"]
    os.execv(settings.program, arguments)  # noqa: S606 (no shell; the path was looked up)


if __name__ == "__main__":
    main()
