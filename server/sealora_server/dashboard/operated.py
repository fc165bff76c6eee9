"""A server's own dashboard, at which those who may do more than look: who logs in, and what they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from starlette.types import ASGIApp

from sealora_common.web.login import LoggedIn, Login, TokenHolder
from sealora_common.web.pages import Pages
from sealora_common.web.sessions import Sessions
from sealora_common.web.token_file import token_of
from sealora_server.dashboard.acts.doing import Ask, Operator
from sealora_server.dashboard.acts.routes import ActRoutes, longest_body
from sealora_server.dashboard.app import Dashboard
from sealora_server.dashboard.login.openid_paths import OPEN
from sealora_server.dashboard.login.persons import PersonTokens
from sealora_server.dashboard.login.proxy import ProxyGate, ProxyWord
from sealora_server.dashboard.login.server_login import ServerLogin
from sealora_server.dashboard.watched import Watched
from sealora_server.deployment.config import DashboardSection
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.operator.messages import Act, AskStatus, OnBehalf, Status, status_of
from sealora_server.deployment.operator.person import Person
from sealora_server.deployment.operator.socket import ask

_HINT = "It is in a file on the server's machine: everybody's of their own, or the one of all who may only look."


@dataclass(frozen=True)
class Operated:
    """A server at which something may be done.

    Attributes:
        server: its directory.
        section: of its server.yaml.
        ask: asks it in the name of a person.
        status: asks it how everything is.
    """

    server: ServerDirectory
    section: DashboardSection
    ask: Ask
    status: Callable[[], Status]

    @classmethod
    def running(cls, server: ServerDirectory, section: DashboardSection, secret: str) -> Operated:
        """The running server, which knows its dashboard by `secret`."""

        def ask_for(act: Act, person: Person) -> object:
            return ask(server.operator_socket, OnBehalf(person=person, secret=secret, act=act))

        return cls(server, section, ask_for, lambda: status_of(ask(server.operator_socket, AskStatus())))

    def dashboard(
        self, watched: Watched, reader: TokenHolder, names: Sequence[str], mark: str, *, is_secure: bool
    ) -> tuple[Dashboard, ASGIApp]:
        """Its dashboard, and the application that serves it.

        Args:
            watched: what it is of.
            reader: whose the token of all readers is.
            names: by which this machine may be asked.
            mark: tells its cookies from those of other servers of the machine.
            is_secure: whether browsers ask by https.

        Raises:
            PolicyError: a file of a secret cannot be used, or a library is missing.
            StorageError: a file of an authority cannot be read.
        """
        server, section = self.server, self.section
        persons = PersonTokens(server.path / section.people)
        word = None if section.proxy is None else ProxyWord(section.proxy, token_of(server.path / section.proxy.secret))

        def holder(said: str) -> LoggedIn | None:
            found = persons.holder(said)
            return reader(said) or found

        def login(pages: Pages, sessions: Sessions) -> Login:
            return ServerLogin(
                pages,
                sessions,
                holder,
                _HINT,
                mark,
                proxy=word,
                openid=section.openid,
                directory=server.path,
                is_secure=is_secure,
            )

        dashboard = Dashboard.with_login(watched, login)
        dashboard.pages.add_globals({"has_acts": True})
        app = dashboard.application(
            names,
            "https" if is_secure else "http",
            ActRoutes(server, dashboard.pages, Operator(server, self.ask), self.status).routes(),
            open_paths=("/assets/", OPEN),
            longest_body=partial(longest_body, dashboard.login),
            gate=partial(ProxyGate, word=word),
        )
        return dashboard, app
