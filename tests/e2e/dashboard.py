"""A node with real games in its journal, and the server that shows them: what the dashboard's tests look at.

Three nodes of a service that the dispute game judges: a liar, and two watchers that both challenge it. One lie has been
disputed to its end, another is in the middle of its games. The second node is the one shown: it has a seat, games,
money won, and ten thousand requests of history.
"""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from e2e.test_games import SHAPE, SecondTokenOff, asked_of, by_game, corrupted, exact, games, posted
from e2e.test_money import holdings, report
from e2e.world import ETHER, NODES, World, drive, settle, team, world
from exact.random_model import write
from fastapi import FastAPI

from oracle.api.app import create_app
from oracle.api.server import listen, serve_app
from oracle.chain.requests import Answer, Request, Round
from oracle.disputes import commitments
from oracle.ids import ServiceId
from oracle.journal.journal import Journal
from oracle.models.download import file_sha256
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore
from oracle.node import money
from oracle.node.checks import count_checks, count_late
from oracle.node.daemon import Node
from oracle.node.history import DAY_SECONDS, book
from oracle.node.records import PostedAnswer, RequestRecord

PICTURED = os.environ.get("DIDYMA_PICTURES")
"""A folder for the pictures of the pages; without it they are taken and thrown away."""
MARKUP = "<img src=x onerror=alert(1)></td><script>alert(2)</script>\u202e"
HISTORY = 10_000
WATCHER = 1
"""The node that is shown."""
OTHER_SERVICE = ServiceId(b"\x77" * 32)


@dataclass
class Stage:
    """What the tests look at."""

    earth: World
    nodes: list[Node]
    over: int
    """A request whose dispute has ended."""
    live: int
    """One whose games go on."""
    earned: list[tuple[int, int]]
    """Of each node: by its journal, and by the chain, up to the end of the first dispute."""
    heard: set[tuple[str, str]]
    """What the shown node's engine and games told of their progress: kind of work, and step."""

    @property
    def node(self) -> Node:
        return self.nodes[WATCHER]


def store_of(folder: Path, name: str) -> ModelStore:
    """With one model of that name."""
    path = write(folder / "model.gguf", SHAPE)
    made = commitments.commit(path)
    models = ModelStore(folder / "store")
    models.take_copy(path)
    manifest = Manifest(name, file_sha256(path), path.stat().st_size, "", 64, (1,), (5, 6), (2,), 3)
    models.allow(replace(manifest, weights_root=made.weights_root, architecture=made.architecture))
    return models


def grow_old(journal: Journal, service: ServiceId, count: int) -> None:
    """Requests of long ago, all final."""
    with journal.write() as tx:
        for number in range(count):
            prompt_hash = number.to_bytes(32, "big")
            request = Request(service, prompt_hash, (1_700_000_000 + number) << 160 | number, 0, 0)
            answer = PostedAnswer(
                Answer((1_700_000_000 << 48), bytes(32), bytes(32), bytes(32)), NODES[0].address, b"", 9
            )
            record = RequestRecord(request, "final", b"", 7, 1_700_000_000, Round(0, 0), answer)
            tx.put_job("request", record.key, record.state, record.payload(), None)


def earn_before(node: Node, service: ServiceId) -> None:
    """Money of earlier weeks and of another service, and answers that went by, booked as the node books them."""
    with node.journal.write() as tx:
        at = tx.cursor()
        assert at is not None
        seat = money.own_seats(tx)[0].seat
        for weeks, of, who, amounts in (
            (4, service, seat, {"fines_wei": 3 * 10**15, "slashed_wei": 10**18}),
            (1, service, seat, {"fees_wei": 2 * 10**17, "callbacks_wei": 10**15 + 1, "votes_wei": 10**16}),
            (1, OTHER_SERVICE, node.addresses["operator"], {"disputes_wei": 3 * 10**17}),
        ):
            book(tx, of, who, block=at.number, at=at.timestamp - 7 * weeks * DAY_SECONDS, **amounts)
        count_checks(tx, service, right=4, milliseconds=5_000)
    count_late(node.journal, {service: 2})


def listen_to(node: Node) -> set[tuple[str, str]]:
    """Kinds of work and steps that the node hears of from now on."""
    in_hand, heard = node.workshop.in_hand, set[tuple[str, str]]()
    tell = in_hand._tell

    def told(key: str, step: str, done: int, total: int) -> None:
        heard.add((key.partition(":")[0], step))
        tell(key, step, done, total)

    in_hand._tell = told  # type: ignore[method-assign]
    return heard


async def _played(earth: World, nodes: list[Node]) -> Stage:
    corrupted(nodes[0], 2, "down")
    heard = listen_to(nodes[WATCHER])
    grow_old(nodes[WATCHER].journal, ServiceId(earth.service), HISTORY)
    before = [holdings(earth, account.address) for account in NODES[:3]]
    over = await asked_of(earth, nodes, NODES[0].address)
    await drive(earth, nodes, lambda: bool(games(earth, "GameSettled")), blocks=100)
    await drive(earth, nodes, lambda: earth.status(over) == "answered", blocks=200)
    for node in nodes:  # all that was mined has been seen
        await settle(node)
    after = [holdings(earth, account.address) for account in NODES[:3]]
    by = posted(earth, over)[-1]["operator"]  # the bond of the answer that stands now
    locked = [ETHER if account.address == by else 0 for account in NODES[:3]]
    chain = [now + bound - was for now, bound, was in zip(after, locked, before, strict=True)]
    earned = [(report(node).net_wei, change) for node, change in zip(nodes, chain, strict=True)]
    live = await asked_of(earth, nodes, NODES[0].address)

    def lists() -> int:
        about = {game["gameId"] for game in games(earth) if game["requestId"] == live}
        return sum(opened["gameId"] in about for opened in games(earth, "ListOpened")) if len(about) == 2 else 0

    await drive(earth, nodes, lambda: lists() >= 2, blocks=100)
    earn_before(nodes[WATCHER], ServiceId(earth.service))
    for node in nodes:
        await settle(node)
    return Stage(earth, nodes, over, live, earned, heard)


@contextmanager
def stage(folder: Path, name: str = MARKUP) -> Iterator[Stage]:
    """Plays it, in a loop of its own: the tests of the pages are not asynchronous.

    name: the model's; its author may have named it with markup.
    """
    store = store_of(folder, name)
    (manifest,) = store.manifests()
    loop = asyncio.new_event_loop()
    with world(manifest, by_game) as earth:
        for seat in range(2, 5):  # the second seat is the shown node's
            earth.act(NODES[seat], "setOperator", earth.service, seat, NODES[0].address)
        engines = [SecondTokenOff(exact(store)), exact(store), exact(store)]
        together = team(earth, folder, *engines, models=store.root, confirmations=0)  # journals are as far as the chain
        nodes: Any = loop.run_until_complete(together.__aenter__())
        try:
            yield loop.run_until_complete(_played(earth, nodes))
        finally:
            loop.run_until_complete(together.__aexit__(None, None, None))
            loop.close()


@contextmanager
def served(node: Node) -> Iterator[str]:
    """The node's API on a port of its own; its address."""
    app: FastAPI = create_app(node)
    listener = listen("127.0.0.1", 0, "api_port")
    loop = asyncio.new_event_loop()
    task = loop.create_task(serve_app(app, listener))

    def run() -> None:
        asyncio.set_event_loop(loop)
        with ExitStack() as stack:
            stack.callback(loop.close)
            try:
                loop.run_until_complete(task)
            except asyncio.CancelledError:
                rest = asyncio.all_tasks(loop)
                for each in rest:
                    each.cancel()
                loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
