"""The server's metrics for Prometheus: rounds, times, survivors, bytes. Of a site: its name, message sizes and times.

Nothing here says anything of a site's data; the server does not know anything of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from sealora_common.records.run_state import RunState
from sealora_server.deployment.operator.messages import ProcessStatus, RunCondition


class Observed(Protocol):
    """What the metrics are read from."""

    @property
    def processes(self) -> tuple[ProcessStatus, ...]: ...
    @property
    def run_states(self) -> dict[str, tuple[RunCondition, RunState]]:
        """Run name -> its condition and state."""
        ...

    @property
    def certificate_expiry(self) -> float:
        """Unix seconds."""
        ...


class ServerCollector(Collector):
    """Reads the metrics when they are asked for."""

    def __init__(self, server: Observed) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        yield from self._of_the_server()
        yield from self._of_the_runs()

    def _of_the_server(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("sealora_server_process_up", "Whether a process runs.", labels=["process"])
        restarts = CounterMetricFamily("sealora_server_process_restarts", "Restarts of a process.", labels=["process"])
        for process in self._server.processes:
            up.add_metric([process.name], float(process.pid is not None))
            restarts.add_metric([process.name], process.restarts)
        yield from (up, restarts)
        yield GaugeMetricFamily(
            "sealora_server_certificate_expiry_seconds",
            "When the first of the server's certificates expires, Unix time.",
            value=self._server.certificate_expiry,
        )

    def _of_the_runs(self) -> Iterator[Metric]:
        running = GaugeMetricFamily("sealora_server_run_running", "Whether a run is at work.", labels=["run"])
        finished = CounterMetricFamily("sealora_server_rounds_finished", "Finished rounds.", labels=["run"])
        aborted = CounterMetricFamily("sealora_server_rounds_aborted", "Attempts that were given up.", labels=["run"])
        survivors = GaugeMetricFamily("sealora_server_survivors", "Sites in the last opened sum.", labels=["run"])
        rounds = SummaryMetricFamily("sealora_server_round_seconds", "Time of a finished round.", labels=["run"])
        stages = SummaryMetricFamily("sealora_server_stage_seconds", "Time of a stage.", labels=["run", "stage"])
        answers = SummaryMetricFamily(
            "sealora_server_answer_seconds", "From an order to a site's answer.", labels=["run", "site", "stage"]
        )
        failures = CounterMetricFamily(
            "sealora_server_site_failures", "A site failed or did not answer.", labels=["run", "site", "stage"]
        )
        sizes = CounterMetricFamily(
            "sealora_server_site_bytes", "Payload of a site's messages.", labels=["run", "site", "direction"]
        )
        for run, (condition, state) in self._server.run_states.items():
            running.add_metric([run], float(condition == "running"))
            finished.add_metric([run], state.rounds_finished)
            aborted.add_metric([run], len(state.aborted))
            survivors.add_metric([run], len(state.survivors))
            rounds.add_metric([run], len(state.round_seconds), sum(state.round_seconds))
            for stage, spent in state.stage_seconds.items():
                stages.add_metric([run, stage], spent.times, spent.seconds)
            for (site, stage), spent in state.answer_seconds.items():
                answers.add_metric([run, site, stage], spent.times, spent.seconds)
            for (site, stage), count in Counter((event.site, event.stage) for event in state.failures).items():
                failures.add_metric([run, site, stage], count)
            for site, size in state.bytes_of_sites.items():
                sizes.add_metric([run, site, "up"], size.up)
            for site, size in state.bytes_of_sites.items():
                sizes.add_metric([run, site, "down"], size.down)
        yield from (running, finished, aborted, survivors, rounds, stages, answers, failures, sizes)
