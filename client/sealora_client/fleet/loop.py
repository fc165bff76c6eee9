"""The site's main loop: receive a message, let the installed ClientApp answer it, send the answer; for as long as it
takes, through restarts of the server, cuts of the network and crashes of its own.

Each message is worked on once. Flower hands it out once; should it come again all the same (a database restored, a
request replayed), the answer that was given is sent again, or nothing if it is no longer there. What the ClientApp
keeps of a round lies in memory (`Context.state`): a site that died in a round says so and takes part in the next.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

from flwr.app import Message

from sealora_client.fleet.connection import Delivery
from sealora_client.fleet.errors import BadMessageError, LostConnectionError, RunEndedError, SessionRefusedError
from sealora_client.fleet.flower import Metadata, Reply
from sealora_client.fleet.heartbeat import Heartbeat
from sealora_client.fleet.installed_app import InstalledApp, refusal
from sealora_client.fleet.link import Link
from sealora_client.fleet.polling import Backoff, PollInterval
from sealora_client.fleet.question import Question
from sealora_client.fleet.session_record import SessionRecord
from sealora_client.fleet.stop import StopFlag, StopNow
from sealora_client.prometheus import SiteMetrics
from sealora_common.errors import StorageError

_WAS_LOST = "this site was restarted, or lost its session, while it worked on this; order the round anew"
_IS_STOPPED = "this site is being stopped by its operator; order the round anew once it is back"
_LEAVES = "this site's operator has it leave the federation for now: go on without it"
_UNREADABLE = "this site could not read the message; server and site must run the same version"
_NOT_TAKEN = "the server did not take this site's answer; the site's own log says why"
_DISK = "the site cannot read or write its own files; its own log says which"

_BEGINS = ("query.hello", "train", "evaluate")
"""Kinds of message that begin something a site which is leaving has no part in."""
_OF_NO_ROUND = ("query.hello", "query.held", "query.deliver")
"""Kinds that a server may ask for at any time, without a round."""

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class Connection(Protocol):
    """What the loop needs of a `FleetConnection`."""

    def open(self) -> int: ...
    def resume(self, node_id: int) -> None: ...
    def leave(self) -> None: ...
    def heartbeat(self) -> None: ...
    def pull(self, *, held: bool) -> Delivery | None: ...
    def fetch(self, delivery: Delivery) -> Message: ...
    def push(self, reply: Reply, runtime: float) -> None: ...
    def reconnect(self) -> None: ...


class FleetLoop:
    """Runs a ClientApp for one site.

    Args:
        connection: to the server.
        app: answers the messages.
        session: what outlasts a crash, of the site's directory.
        link: told of every exchange with the server.
        metrics: told of the same.
        stop: makes `run` return.
        on_answer: called with the stage after every answer that was sent.
        on_sending: called with every answer that is about to be sent, once each.
        interval: of the polls.
        backoff: of the attempts while the server is away.
        settle: seconds between the last answer and the end of the session, for the server to fetch the answer:
            Flower drops what it holds of a node that is gone.
        longest_fetch: seconds after which a message that does not come whole is given up, whatever time the server set.
        longest_pause: seconds after which a round is over for a site that wants to leave, if no stage of it comes any
            more. What else a server asks meanwhile does not prolong it.
    """

    def __init__(
        self,
        connection: Connection,
        app: InstalledApp,
        *,
        session: SessionRecord,
        link: Link,
        metrics: SiteMetrics,
        stop: StopFlag | None = None,
        on_answer: Callable[[str], None] = lambda stage: None,
        on_sending: Callable[[Reply], None] = lambda reply: None,
        interval: PollInterval | None = None,
        backoff: Backoff | None = None,
        settle: float = 2.0,
        longest_fetch: float = 7200.0,
        longest_pause: float = 7200.0,
    ) -> None:
        self._connection = connection
        self._app = app
        self._session = session
        self._link = link
        self._metrics = metrics
        self._on_answer = on_answer
        self._on_sending = on_sending
        self._interval = interval or PollInterval()
        self._backoff = backoff or Backoff()
        self._settle = settle
        self._longest_fetch = longest_fetch
        self._longest_pause = longest_pause
        self._sent = self._went_on = -math.inf
        self._stop = stop or StopFlag()
        self._node_id = 0
        self._in_hand: Metadata | None = None
        self._unsent: tuple[Reply, float] | None = None
        self._last: tuple[str, Reply] | None = None
        self._told_of: Reply | None = None
        self._is_leaving = False
        self._gives_up = False

    def stop(self) -> None:
        """Makes `run` return after the message in hand; from any thread."""
        self._stop.set()

    def leave(self, wanted: bool) -> None:
        """Makes `run` return after the round in hand, and refuses all that begins another; from any thread.

        To be called again and again: whether the round is over is looked at here. With False it is taken back.
        """
        self._is_leaving = wanted
        if wanted and not self._is_in_round:
            self._stop.set()

    def stop_now(self) -> None:
        """Makes `run` return at once; from any thread. What is in hand is given up, and nothing of it leaves any more
        but a refusal."""
        self._is_leaving = self._gives_up = True
        if self._in_hand is None:
            self._stop.set()
        else:
            self._stop.give_up()

    def run(self) -> None:
        """Serves until `stop` is called, or until StopNow is raised into it, and ends the session then."""
        try:
            with Heartbeat(self._connection.heartbeat, self._link):
                while not self._stop.is_set:
                    if self._join():
                        with suppress(SessionRefusedError):  # told already; a new session is opened
                            self._serve()
        except StopNow:
            log.info("stopped in the midst of a stage, which is given up")
        finally:
            self._leave()

    def _join(self) -> bool:
        """Opens a session, however long it takes; whether there is one (or the site is being stopped)."""
        while not self._stop.is_set:
            try:
                self._node_id = self._enter()
            except (LostConnectionError, SessionRefusedError) as error:
                self._failed(error)
                continue
            self._worked()
            self._note(lambda: self._session.opened(self._node_id))
            lost = self._session.in_hand
            if lost is not None and self._unsent is None:
                self._unsent = (_refusing(lost, _WAS_LOST), 0.0)
            return True
        return False

    def _enter(self) -> int:
        try:
            return self._connection.open()
        except SessionRefusedError as error:
            former = self._session.open_node
            if error.reason != "busy" or former is None:
                raise
            # The session that the server still holds is this site's own: nobody else runs it, see `only_process`.
            try:
                self._connection.resume(former)
            except SessionRefusedError:
                raise error from None
            return former

    def _serve(self) -> None:
        """Answers message after message.

        Raises:
            SessionRefusedError: there is no session any more.
        """
        self._interval.active()
        while not self._stop.is_set:
            if self._unsent is not None:
                self._send()
                continue
            asked = time.monotonic()
            # After a failure the answer is wanted at once: until there is one, the server counts as lost.
            ask = partial(self._connection.pull, held=self._link.connected)
            try:
                delivery = Question(ask).wait(self._stop)
            except (LostConnectionError, SessionRefusedError) as error:
                self._failed(error)
                if isinstance(error, SessionRefusedError) and error.reason != "certificate":
                    raise
                continue
            if self._stop.is_set and delivery is None:
                return
            self._worked()
            if delivery is None:
                self._stop.wait(max(0.0, self._interval.pause() - (time.monotonic() - asked)))
                continue
            if self._take(delivery):
                self._interval.active()
            else:  # or else a server that says the same for ever is listened to without a pause
                self._stop.wait(self._interval.pause())

    def _take(self, delivery: Delivery) -> bool:
        """Works on a message and leaves the answer in `_unsent`, if there is one; whether it is a new one."""
        metadata = delivery.metadata
        if self._session.handled(metadata.message_id):
            again = self._last[1] if self._last is not None and self._last[0] == metadata.message_id else None
            log.warning(
                "a message came a second time: nothing was done%s", ", the answer is sent again" if again else ""
            )
            self._unsent = None if again is None else (again, 0.0)
            return False
        self._in_hand = metadata
        if self._is_leaving and metadata.message_type in _BEGINS:
            self._unsent = (_refusing(metadata, _LEAVES), 0.0)
            return True
        started = time.monotonic()
        try:
            self._session.take(metadata)
            until = min(delivery.expires, time.time() + self._longest_fetch)
            message = self._patiently(lambda: self._connection.fetch(delivery), until=until)
        except StorageError as error:
            log.error("%s", error)
            self._unsent = (_refusing(metadata, _DISK), 0.0)
        except BadMessageError as error:
            log.warning("%s: it was refused", error)
            self._unsent = (_refusing(metadata, _UNREADABLE), 0.0)
        else:
            if message is None:
                self._drop()
                return True
            self._link.busy = True
            try:
                self._unsent = (self._app.answer(message), time.monotonic() - started)
            finally:
                self._link.busy = False
        self._last = (metadata.message_id, self._unsent[0])
        return True

    def _send(self) -> None:
        """Sends what is unsent, however long it takes, unless nobody waits for it any more.

        Raises:
            SessionRefusedError: there is no session any more; it stays unsent.
        """
        assert self._unsent is not None  # noqa: S101
        reply, runtime = self._unsent
        metadata = reply.envelope.metadata
        self._tell_of(reply)

        def push() -> bool:
            self._connection.push(reply, runtime)
            return True

        try:
            sent = self._patiently(push, until=metadata.created_at + metadata.ttl)
        except BadMessageError as error:
            log.warning("%s", error)
            refused, self._in_hand = self._in_hand, None  # a refusal that is refused is not sent again
            if refused is not None:
                self._unsent = (_refusing(refused, _NOT_TAKEN), 0.0)
                return
            sent = None
        if sent is None:
            self._drop()
            return
        self._unsent = None
        self._finish()
        if not reply.is_refusal and metadata.message_type not in _OF_NO_ROUND:
            self._went_on = self._sent
        self._on_answer(metadata.message_type.removeprefix("query."))

    def _patiently(self, call: Callable[[], Answer], *, until: float) -> Answer | None:
        """The call's answer, however often it must be tried; None if its run is over, `until` (epoch) has passed, or
        the site is to stop.

        Raises:
            SessionRefusedError: there is no session any more.
        """
        while time.time() <= until:
            try:
                answer = call()
            except LostConnectionError as error:
                self._failed(error)
                if self._stop.is_set:
                    return None
            except SessionRefusedError as error:
                self._failed(error)
                if error.reason != "certificate":
                    raise
            except RunEndedError:
                return None
            else:
                self._worked()
                return answer
        return None

    def _drop(self) -> None:
        """Gives a message up, unless it was only cut short by the wish to stop: then it is still in hand."""
        if not self._stop.is_set:
            log.warning("a message was dropped: its run is over, or nobody waits for the answer any more")
            self._unsent = None
            self._finish()

    def _finish(self) -> None:
        self._in_hand = None
        self._sent = time.monotonic()
        self._interval.active()
        self._note(self._session.done)

    def _worked(self) -> None:
        self._backoff.reset()
        self._link.well()
        self._metrics.connected(True)

    def _failed(self, error: LostConnectionError | SessionRefusedError) -> None:
        """Says what is wrong and waits a little."""
        self._link.trouble(error)
        self._metrics.connected(False)
        if isinstance(error, SessionRefusedError) and error.reason == "certificate":
            with suppress(StorageError):  # the file is being replaced
                self._connection.reconnect()
        self._stop.wait(self._backoff.pause())

    @property
    def _is_in_round(self) -> bool:
        """Whether there is something that a site which is leaving has begun and may yet end."""
        is_at_work = self._in_hand is not None or self._unsent is not None
        return is_at_work or (self._app.in_round and time.monotonic() - self._went_on < self._longest_pause)

    def _tell_of(self, reply: Reply) -> None:
        """Tells of a reply that is about to be sent, unless it was told of: it is tried until it is taken."""
        if reply is not self._told_of:
            self._told_of = reply
            self._note(lambda: self._on_sending(reply))

    def _note(self, write: Callable[[], None]) -> None:
        """Writes to the session record where it only saves time: a full disk is no reason to stop."""
        try:
            write()
        except StorageError as error:
            log.error("%s", error)

    def _leave(self) -> None:
        """Gives up what is in hand and ends the session; one attempt at each, nobody waits long.

        What the server cannot be told now stays in the session record, and it is told at the next start.
        """
        if not self._node_id:
            return
        unsent = None if self._gives_up else self._unsent
        if unsent is None and self._in_hand is not None:
            unsent = (_refusing(self._in_hand, _IS_STOPPED), 0.0)
        with suppress(LostConnectionError, SessionRefusedError):
            if unsent is not None:
                self._tell_of(unsent[0])
                with suppress(RunEndedError, BadMessageError):
                    self._connection.push(*unsent)
                self._sent = time.monotonic()
            time.sleep(max(0.0, self._sent + self._settle - time.monotonic()))
            self._connection.leave()
            self._note(self._session.closed)
            log.info("said goodbye to the server: the session is ended")


def _refusing(metadata: Metadata, said: str) -> Reply:
    return Reply.to(metadata, refusal(said), is_refusal=True)
