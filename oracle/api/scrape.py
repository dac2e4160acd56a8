"""From the node's status to its metrics, at each scrape."""

import time
from collections import Counter
from collections.abc import Sequence

from oracle.node import fleet
from oracle.node.daemon import Node
from oracle.node.games.litigant import OpenGame
from oracle.node.metrics import Metrics, set_all
from oracle.node.plan import View


class Scraper:
    """Fills the metrics of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._metrics = Metrics()

    def text(self) -> bytes:
        """Prometheus' text format."""
        node, m, status = self._node, self._metrics, self._node.status
        m.ready.set(not node.troubles())
        m.depth.set(node.settings.finality)
        m.reserve.set(node.settings.reserve_wei)
        m.reorg_depth.set(status.last_reorg_depth)
        if status.head is not None:
            m.head_block.set(status.head.number)
            m.head_age.set(time.monotonic() - status.head_seen_at)
        if status.progress is not None:
            m.behind.set(status.progress.behind)
        for name, address in node.addresses.items():
            report = status.reports.get(name)
            if report is not None:
                m.tx_pending.labels(name).set(report.pending)
                m.balance.labels(name).set(report.balance_wei)
            m.credit.labels(name).set(status.credit_wei.get(address, 0))
            m.raise_to(m.tx_attempts.labels(name), status.signed.get(name, 0))
            m.raise_to(m.tx_failed.labels(name), status.failed.get(name, 0))
            m.raise_to(m.fee_caps.labels(name), status.fee_cap_hits.get(name, 0))
        for endpoint in node.rpc.health():
            m.rpc_fresh.labels(str(endpoint.index)).set(endpoint.fresh)
            for method, count in endpoint.requests.items():
                m.raise_to(m.rpc_requests.labels(str(endpoint.index), method), count)
        for error, count in node.rpc.errors.items():
            m.raise_to(m.rpc_errors.labels(str(error[0]), error[1]), count)
        self._workshop()
        self._view()
        return m.text()

    def _workshop(self) -> None:
        m, workshop = self._metrics, self._node.workshop
        m.engine_running.set(len(workshop.running))
        depths = fleet.depths()
        set_all(m.fleet_waiting, {(queue,): depth.waiting for queue, depth in depths.items()})
        set_all(m.fleet_workers, {(queue,): depth.workers for queue, depth in depths.items()})
        leads = self._node.standby is None or self._node.standby.leads is True
        m.leads.labels(self._node.addresses["operator"]).set(leads)
        m.raise_to(m.engine_restarts, workshop.restarts)
        m.raise_to(m.saturated, workshop.saturated)
        m.raise_to(m.selfcheck_failures, workshop.counters.selfcheck_failures)
        m.raise_to(m.wrong_answers, workshop.counters.wrong_answers)
        troubles: dict[tuple[str, ...], float] = {}
        for service, trouble in self._node.service_troubles():
            troubles["0x" + service.hex(), trouble.kind] = 1
        set_all(m.service_trouble, troubles)
        for reason, count in self._node.vigil.unwatched.items():
            m.raise_to(m.unwatched.labels(reason), count)
        done, workshop.counters.seconds = workshop.counters.seconds, []
        for kind, seconds in done:
            m.engine_seconds.labels(kind).observe(seconds)

    def _view(self) -> None:
        m, view = self._metrics, self._node.status.view
        if view is None:
            return
        states: Counter[tuple[str, ...]] = Counter((record.state,) for record in view.requests)
        states.update((f"case {case.state}",) for case in view.cases.values())
        set_all(m.jobs, states)
        m.oldest_job.set(max((view.head.timestamp - record.posted_at for record in view.requests), default=0))
        own = [seat for seat in view.seats if seat.operator == view.operator]
        totals: dict[tuple[str, ...], float] = {
            ("answered",): sum(seat.tally.answered for seat in own),
            ("missed",): sum(seat.tally.missed for seat in own),
            ("rejected",): sum(seat.tally.rejected for seat in own),
        }
        set_all(m.turns, totals)
        seats = {(seat.service, seat.seat) for seat in own}
        games: Counter[tuple[str, ...]] = Counter()
        for record in view.requests:
            case = view.cases.get(record.id)
            if case is None or record.posted is None:
                continue
            service = record.request.service
            members = [seat for seat in case.members if (service, seat) in seats]
            if case.challenger in (view.operator, view.disputer):
                games["challenger", case.state] += 1
            elif (service, record.posted.answer.seat) in seats:
                games["answerer", case.state] += 1
            elif members:
                games["panel", case.state] += 1
        for game in self._node.games:
            games[game.side, "waiting" if game.deadline is None else "to move"] += 1
        set_all(m.games, games)
        enclave = self._node.enclave
        if enclave is None:
            m.tee_documents.set(-1)
        else:
            m.tee_key.set(min((end - view.head.timestamp for end in enclave.admitted.values()), default=-1))
            m.tee_documents.set(max(0, (enclave.documents_end or 0) - view.head.timestamp))
        m.game_clock.set(least_left(view, self._node.games))


def least_left(view: View, games: Sequence[OpenGame]) -> int:
    """Seconds until the next vote, reveal or move of this node is due, by the chain's time; -1 if none is.

    One that is overdue is lost, or no longer owed, and hides none that can still be made.
    """
    now = view.head.timestamp
    ends = [game.deadline for game in games if game.deadline is not None]
    own = {(seat.service, seat.seat) for seat in view.seats if seat.operator == view.operator}
    for record in view.requests:
        case, service = view.cases.get(record.id), record.request.service
        if case is None:
            continue
        for seat in [seat for seat in case.members if (service, seat) in own]:
            if seat not in case.commitments:
                ends.append(case.commit_ends_at)
            elif seat not in case.votes and now > case.commit_ends_at:
                ends.append(case.commit_ends_at + view.services[service].panel.reveal_seconds)
    return min((end - now for end in ends if end >= now), default=-1)
