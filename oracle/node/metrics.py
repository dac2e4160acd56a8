"""Prometheus metrics, kept in memory: a scrape touches neither the chain nor the journal.

Labels come only from the settings and from fixed words, never from what strangers put on the chain.
"""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """One node's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._totals: dict[Counter, float] = {}

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(f"didyma_{name}", text, labels, registry=self.registry)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"didyma_{name}", text, labels, registry=self.registry)

        self.ready = gauge("ready", "1 if the node can do its work")
        self.head_block = gauge("head_block", "number of the highest block seen")
        self.head_age = gauge("head_age_seconds", "seconds since the head last changed")
        self.behind = gauge("blocks_behind", "blocks still to read until the confirmation depth")
        self.depth = gauge("finality_depth", "configured blocks until nothing can change")
        self.reorg_depth = gauge("reorg_depth", "blocks taken back by the last reorganisation")
        self.jobs = gauge("jobs", "open requests and cases by state", ("state",))
        self.oldest_job = gauge("oldest_job_seconds", "age of the oldest open request, in chain time")
        self.engine_running = gauge("engine_jobs", "engine jobs in hand")
        self.tx_pending = gauge("tx_pending", "transactions signed and not mined", ("key",))
        self.tx_attempts = counter("tx_attempts", "transactions signed, replacements included", ("key",))
        self.tx_failed = counter("tx_failed", "transactions of ours that were mined and failed", ("key",))
        self.fee_caps = counter("fee_cap_hits", "times a fee was above what its transaction is worth", ("key",))
        self.balance = gauge("balance_wei", "balance of a key", ("key",))
        self.credit = gauge("credit_wei", "credit of a key in the oracle", ("key",))
        self.reserve = gauge("reserve_wei", "balance kept for disputes")
        self.games = gauge("games", "open disputes this node has a part in", ("side", "state"))
        self.game_clock = gauge(
            "game_clock_seconds", "least time left for a vote, reveal or move of this node; -1 if none is due"
        )
        self.tee_key = gauge("tee_key_seconds", "least time that a service will count this node's key; -1 if none does")
        self.tee_documents = gauge(
            "tee_documents_seconds", "time until the TEE vendor's documents on chain end; -1 without a TEE"
        )
        self.engine_seconds = Histogram(
            "didyma_engine_seconds",
            "duration of engine jobs",
            ("kind",),
            buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
            registry=self.registry,
        )
        self.fleet_waiting = gauge("fleet_waiting", "jobs that no worker of the fleet has taken", ("queue",))
        self.fleet_workers = gauge("fleet_workers", "workers of the fleet that live", ("queue",))
        self.leads = gauge("leads", "1 if this daemon signs, 0 while another one with its keys does", ("operator",))
        self.engine_restarts = counter("engine_restarts", "engine workers lost")
        self.saturated = counter("saturated_numbers", "numbers of the exact engine that stood at their limits")
        self.service_trouble = gauge(
            "service_trouble", "1 while a service cannot be answered or watched, by why", ("service", "reason")
        )
        self.unwatched = counter("unwatched_answers", "answers of others that were not judged in time", ("reason",))
        self.selfcheck_failures = counter("selfcheck_failures", "answers that the engine itself rejected")
        self.wrong_answers = counter("wrong_answers", "answers of others found wrong")
        self.rpc_fresh = gauge("rpc_fresh", "1 while an endpoint answers and does not lag", ("endpoint",))
        self.rpc_requests = counter("rpc_requests", "requests to an endpoint", ("endpoint", "method"))
        self.rpc_errors = counter("rpc_errors", "faults of an endpoint", ("endpoint", "kind"))
        self.turns = gauge("turns", "answers given, turns missed and answers rejected, of own seats", ("outcome",))

    def raise_to(self, counter: Counter, total: float) -> None:
        """Brings a counter to a total that is kept elsewhere."""
        counter.inc(max(0.0, total - self._totals.get(counter, 0.0)))
        self._totals[counter] = total

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)


def set_all(gauge: Gauge, values: Mapping[tuple[str, ...], float]) -> None:
    """Sets these label values and forgets all others."""
    gauge.clear()
    for labels, value in values.items():
        gauge.labels(*labels).set(value)
