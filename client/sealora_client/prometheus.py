"""What a site counts of its own work, for Prometheus. It is told at the site alone and says nothing of the records."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from sealora_common import __version__

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 1800, 3600, 7200, 14400)


class SiteMetrics:
    """The site's metrics in a registry of their own.

    Attributes:
        registry: what `/metrics` shows.
    """

    def __init__(self, site: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info("sealora_site", "This site.", registry=self.registry).info({"site": site, "version": __version__})
        self._stages = Histogram(
            "sealora_site_stage_seconds",
            "Seconds it took to answer a message of the server, by stage.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._messages = Counter(
            "sealora_site_messages",
            "Messages of the server, by stage and by what came of them (answered or refused).",
            ["stage", "outcome"],
            registry=self.registry,
        )
        self._rounds = Counter(
            "sealora_site_rounds",
            "Rounds that this site took part in to their end, by purpose (train or evaluate).",
            ["purpose"],
            registry=self.registry,
        )
        self._bytes = Counter(
            "sealora_site_bytes", "Payload bytes, received and sent.", ["direction"], registry=self.registry
        )
        self._connected = Gauge(
            "sealora_site_connected", "Whether the server is there (1) or not (0).", registry=self.registry
        )
        self._epsilon = Gauge(
            "sealora_site_epsilon_spent",
            "Privacy that this site's data set has spent over its lifetime, at its recipe's delta.",
            registry=self.registry,
        )
        self._epsilon_limit = Gauge(
            "sealora_site_epsilon_limit", "Most that the site's policy lets it spend.", registry=self.registry
        )

    def answered(self, stage: str, *, seconds: float, received: int, sent: int, refused: bool) -> None:
        """Counts a message that was answered."""
        self._stages.labels(stage).observe(seconds)
        self._messages.labels(stage, "refused" if refused else "answered").inc()
        self._bytes.labels("received").inc(received)
        self._bytes.labels("sent").inc(sent)

    def finished(self, purpose: str) -> None:
        """Counts a round that was taken part in to its end."""
        self._rounds.labels(purpose).inc()

    def connected(self, now: bool) -> None:
        """Says whether the server is there."""
        self._connected.set(1 if now else 0)

    def privacy(self, spent: float, limit: float) -> None:
        """Says what the data set has spent and may spend (epsilon)."""
        self._epsilon.set(spent)
        self._epsilon_limit.set(limit)
