"""The forms of the dashboard, and the pages that hold them; a reader is refused each of them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping

from markupsafe import escape
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from sealora_common.errors import SealoraError
from sealora_common.show.safe_text import safe_text
from sealora_common.web.guard import LONGEST_BODY, refusal
from sealora_common.web.login import ForgedFormError, Login, checked_form, session_of
from sealora_common.web.pages import Pages
from sealora_common.web.sessions import Role, Session
from sealora_server.dashboard.acts.doing import ARCHIVES, Download, Operator, Submission
from sealora_server.dashboard.acts.once import FormOutcome, Forms
from sealora_server.dashboard.acts.uploads import UploadedForm, uploaded_form
from sealora_server.deployment.directory import ServerDirectory, run_name
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.approval import shown_run
from sealora_server.deployment.operator.messages import Approve, Refuse, Resume, RunStatus, Status, Stop
from sealora_server.deployment.operator.person import Person
from sealora_server.upkeep.deletion import what_is_lost

SUBMIT, INVITE = "/submit", "/invite"
LONGEST_UPLOAD = 18 * 2**20
"""Bytes of a recipe and a roster, as large as either may be."""
_UPLOADS = (SUBMIT, INVITE)
_ACTS: Mapping[str, type[Stop | Resume | Refuse]] = {"stop": Stop, "resume": Resume, "refuse": Refuse}

Handler = Callable[[Request, Session], Awaitable[Response]]


def longest_body(login: Login, scope: Scope) -> int:
    """Bytes of a form that are taken: files from an operator alone."""
    if scope["path"] not in _UPLOADS:
        return LONGEST_BODY
    session = login.session(Request(scope))
    return LONGEST_UPLOAD if session is not None and session.role is Role.OPERATOR else LONGEST_BODY


class ActRoutes:
    """The paths.

    Args:
        server: its directory.
        pages: has the templates of this folder's pages.
        operator: does what is asked.
        status: asks the running server how everything is; raises SealoraError where none runs.
    """

    def __init__(self, server: ServerDirectory, pages: Pages, operator: Operator, status: Callable[[], Status]) -> None:
        self._server = server
        self._pages = pages
        self._operator = operator
        self._status = status
        self._forms = Forms()

    @staticmethod
    def new_form() -> str:
        """What tells one form of a page from all others: pages with the templates of `acts.html.j2` need it."""
        return Forms.new()

    def routes(self) -> list[Route]:
        """Of an application behind `LoginGate`; before those that are the same for readers."""

        def route(path: str, handler: Handler, method: str) -> Route:
            return Route(path, _for_operators(handler), methods=[method])

        return [
            route(SUBMIT, self._submit_page, "GET"),
            route(SUBMIT, self._submit, "POST"),
            route(INVITE, self._invite_page, "GET"),
            route(INVITE, self._invite, "POST"),
            route("/runs/{run}/acts", self._acts_page, "GET"),
            route("/runs/{run}/approval", self._approval_page, "GET"),
            route("/runs/{run}/approve", self._approve, "POST"),
            route("/runs/{run}/delete", self._delete_page, "GET"),
            route("/runs/{run}/delete", self._delete, "POST"),
            route("/runs/{run}/archive", self._archive, "POST"),
            route("/runs/{run}/{act:str}", self._act, "POST"),
            route("/archives/{file}", self._archived, "GET"),
            route("/done/{form}", self._done, "GET"),
        ]

    async def _submit_page(self, request: Request, session: Session) -> Response:
        finished = [run.name for run in await self._runs() if run.condition == "finished"]
        return self._page("submit.html.j2", session, finished=finished)

    async def _submit(self, request: Request, session: Session) -> Response:
        form = await _checked_upload(request, session)
        submission = Submission(
            form.file("recipe") or b"",
            form.file("roster") or b"",
            form.fields.get("name", "").strip(),
            form.fields.get("continue_from", ""),
        )
        return await self._once(session, form.fields, lambda person: self._operator.submit(person, submission))

    async def _invite_page(self, request: Request, session: Session) -> Response:
        return self._page("invite.html.j2", session, problem="")

    async def _invite(self, request: Request, session: Session) -> Response:
        form = await _checked_upload(request, session)
        names = form.fields.get("names", "").replace(",", " ").split()
        made = await asyncio.to_thread(
            self._operator.invite,
            person_of(session),
            form.file("recipe") or b"",
            form.file("roster") or b"",
            names,
            form.fields.get("url", "").strip() or None,
        )
        if isinstance(made, Download):
            return _attachment(made)
        return self._page("invite.html.j2", session, 422, problem=made.sentence)

    async def _acts_page(self, request: Request, session: Session) -> Response:
        told = await self._told(_run(request))
        if told is None:
            return refusal(404, "The server knows no such run, or does not answer: see its log.")
        return self._page("run_acts.html.j2", session, run=told)

    async def _approval_page(self, request: Request, session: Session) -> Response:
        named = _run(request)
        told = await self._told(named)
        if told is None or told.approval is None or told.condition != "unapproved":
            said = f"nothing of run {named} waits for approval, or the server does not answer"
            return self._outcome_page(session, FormOutcome(False, said, "/"))
        directory = self._server.runs / named
        try:
            shown = await asyncio.to_thread(shown_run, directory, told.approval.digest)
        except SealoraError as error:
            return self._outcome_page(session, FormOutcome(False, str(error), "/"))
        return self._page(
            "approval.html.j2",
            session,
            run=told,
            approval=told.approval,
            recipe=shown.recipe,
            # Whole, as it is approved: a page cuts its texts where they are longer than most need.
            text=escape(safe_text(shown.text, len(shown.text), lines=True)),
            roster=shown.roster,
            may_approve=told.approval.asked_by.casefold() != session.who.casefold(),
        )

    async def _approve(self, request: Request, session: Session) -> Response:
        form = await checked_form(request)
        try:
            act = Approve(run=_run(request), digest=form.get("digest", ""))
        except ValueError:
            raise ForgedFormError from None
        return await self._once(session, form, lambda person: self._operator.act(person, act))

    async def _act(self, request: Request, session: Session) -> Response:
        kind = _ACTS.get(request.path_params["act"])
        if kind is None:
            return refusal(404, "There is no such page.")
        act = kind(run=_run(request))
        return await self._once(session, await checked_form(request), lambda person: self._operator.act(person, act))

    async def _delete_page(self, request: Request, session: Session) -> Response:
        named = _run(request)
        lost = await asyncio.to_thread(what_is_lost, self._server.runs / named)
        return self._page("delete.html.j2", session, name=named, lost=lost)

    async def _delete(self, request: Request, session: Session) -> Response:
        form, named = await checked_form(request), _run(request)
        typed = form.get("typed", "").strip()
        return await self._once(session, form, lambda person: self._operator.delete(person, named, typed))

    async def _archive(self, request: Request, session: Session) -> Response:
        form, named = await checked_form(request), _run(request)
        return await self._once(session, form, lambda person: self._operator.archive(person, named))

    async def _archived(self, request: Request, session: Session) -> Response:
        name = request.path_params["file"]
        run_name(name.removesuffix(".run"))
        path = self._server.path / ARCHIVES / name
        if not name.endswith(".run") or not path.is_file():
            return refusal(404, "There is no such archive: make it anew.")
        return FileResponse(path, filename=name, media_type="application/octet-stream")

    async def _done(self, request: Request, session: Session) -> Response:
        outcome = self._forms.outcome(session, request.path_params["form"])
        if outcome is None:
            return RedirectResponse("/", status_code=303)
        return self._outcome_page(session, outcome)

    async def _once(self, session: Session, form: Mapping[str, str], do: Callable[[Person], FormOutcome]) -> Response:
        """Does it in a thread if this very form was not sent before, and leads to what came of it."""
        sent = form.get("form", "")
        if not self._forms.is_one(sent):
            raise ForgedFormError
        await self._forms.sent(session, sent, lambda: asyncio.to_thread(do, person_of(session)))
        return RedirectResponse(f"/done/{sent}", status_code=303)

    def _outcome_page(self, session: Session, outcome: FormOutcome) -> Response:
        return self._page("done.html.j2", session, 200 if outcome.is_done else 422, outcome=outcome)

    def _page(self, template: str, session: Session, status: int = 200, **values: object) -> Response:
        return self._pages.response(template, status, session=session, new_form=self.new_form, **values)

    async def _told(self, name: str) -> RunStatus | None:
        return next((run for run in await self._runs() if run.name == name), None)

    async def _runs(self) -> tuple[RunStatus, ...]:
        try:
            return (await asyncio.to_thread(self._status)).runs
        except SealoraError:  # no server runs: there is nothing to go on with, and the act says so
            return ()


def person_of(session: Session) -> Person:
    """Who is logged in, as the server knows them."""
    return Person(name=session.who, subject=session.subject)


def _for_operators(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    @functools.wraps(handler)
    async def handle(request: Request) -> Response:
        session = session_of(request)
        if session.role is not Role.OPERATOR:
            return refusal(403, "Only an operator may do this, and you are logged in as a reader.")
        try:
            return await handler(request, session)
        except DeploymentError as error:  # of a run's name that is none
            return refusal(404, f"{error}.")

    return handle


def _run(request: Request) -> str:
    """The run that a path names.

    Raises:
        DeploymentError: that is no name.
    """
    return run_name(request.path_params["run"])


async def _checked_upload(request: Request, session: Session) -> UploadedForm:
    """A form with files of one of the session's pages.

    Raises:
        ForgedFormError: it is none.
    """
    try:
        form = uploaded_form(request.headers.get("content-type", ""), await request.body())
    except ValueError:
        raise ForgedFormError from None
    if not session.has_sent(form.fields.get("csrf", "")):
        raise ForgedFormError
    return form


def _attachment(made: Download) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{made.name}"'}
    return Response(made.content, media_type=made.media_type, headers=headers)
