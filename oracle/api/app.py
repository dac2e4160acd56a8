"""The node's HTTP API: health, metrics, jobs, one request, the dashboard. Read-only; nothing signs through HTTP.

What a scrape asks for comes from memory, so a stalled chain or a busy journal does not stall it. What comes from the
journal is read in threads, beside the loop.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import FastAPI, HTTPException, Path, Query, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

from oracle.api import pages
from oracle.api.files import FILES
from oracle.api.guard import Guard
from oracle.api.live import MOST_STREAMS, Live
from oracle.api.models import (
    CaseOut,
    JobsOut,
    Readiness,
    Refusal,
    RequestDetail,
    RequestOut,
    TransactionOut,
    WorkOut,
)
from oracle.api.scrape import Scraper
from oracle.api.state import State
from oracle.errors import Transient
from oracle.ids import RequestId
from oracle.journal.journal import Tx
from oracle.journal.outbox import Outbox
from oracle.journal.schema import intents
from oracle.node.daemon import Node
from oracle.node.records import CLOSED_REQUEST, LIVE_REQUEST, Judgement, RequestRecord, request_key, verdict_key

LOCAL_NAMES = ("127.0.0.1", "::1", "localhost")
REQUEST_ID = r"^0x[0-9a-fA-F]{64}$"
STATES = f"^({'|'.join((*LIVE_REQUEST, *CLOSED_REQUEST))})$"

REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "The host name is not one of this node's."},
    401: {"model": Refusal, "description": "A token is needed."},
    403: {"model": Refusal, "description": "Another site's page asks."},
    413: {"model": Refusal, "description": "This API takes no request bodies."},
}


def create_app(node: Node) -> FastAPI:
    """The application of one node."""
    app = FastAPI(title="Didyma node", version="1", docs_url=None, redoc_url=None, responses=REFUSED)
    settings = node.settings
    token = None if settings.api_token is None else settings.api_token.get_secret_value()
    app.add_middleware(Guard, hosts={*LOCAL_NAMES, settings.api_host, *settings.api_names}, token=token, free=FILES)
    scraper = Scraper(node)
    _add_pages(app, node)

    @app.get("/livez", summary="The process works")
    async def livez() -> dict[str, bool]:
        return {"alive": True}

    @app.get(
        "/readyz",
        summary="The node can do its work, or why not",
        responses={503: {"model": Readiness, "description": "Not ready, with reasons."}},
    )
    async def readyz(response: Response) -> Readiness:
        reasons = node.troubles()
        response.status_code = 503 if reasons else 200
        return Readiness(ready=not reasons, reasons=reasons, warnings=node.warnings())

    @app.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(scraper.text(), media_type="text/plain; version=0.0.4")

    @app.get("/jobs", summary="Open requests and disputes, and what the engine is doing")
    async def jobs(
        state: Annotated[str | None, Query(pattern="^(open|answered|disputed)$", description="Only these.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> JobsOut:
        return current_jobs(node, state, limit)

    @app.get(
        "/requests/{request_id}",
        summary="One request, open or closed",
        responses={
            404: {"model": Refusal, "description": "This node knows no such request."},
            503: {"model": Refusal, "description": "The journal cannot be read now."},
        },
    )
    def request(request_id: Annotated[str, Path(pattern=REQUEST_ID)]) -> RequestDetail:
        with _reading(node) as tx:
            return _known(detail(node, tx, RequestId(int(request_id, 16))))

    @app.exception_handler(405)
    async def only_reads(_request: object, _error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "this API only reads"}, 405, {"allow": "GET"})

    return app


def _add_pages(app: FastAPI, node: Node) -> None:
    """What the dashboard asks for, and its files."""
    live = Live(node, version("didyma"))
    busy: dict[int | str, dict[str, Any]] = {503: {"model": Refusal, "description": "It cannot be read now."}}
    unknown: dict[int | str, dict[str, Any]] = {404: {"model": Refusal, "description": "There is no such request."}}

    @app.get("/view/state", summary="What the dashboard shows live")
    async def now() -> State:
        return live.state()

    @app.get("/view/live", include_in_schema=False)  # it does not end, as tests of a schema expect
    async def events() -> StreamingResponse:
        if live.listeners >= MOST_STREAMS:
            raise HTTPException(503, f"{MOST_STREAMS} pages are open already")
        return StreamingResponse(live.stream(), media_type="text/event-stream")

    @app.get("/view/requests", summary="History, the newest first", responses=busy)
    def requests(
        search: Annotated[str, Query(pattern=pages.SEARCH, description="Of a request, service or address.")] = "",
        state: Annotated[str | None, Query(pattern=STATES, description="Only these.")] = None,
        before: Annotated[int | None, Query(ge=1, lt=1 << 62, description="`next` of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> pages.History:
        with _reading(node) as tx:
            return pages.history(tx, search, state, before, limit)

    @app.get("/view/requests/{request_id}", summary="One request with its disputes", responses=unknown | busy)
    def one(request_id: Annotated[str, Path(pattern=REQUEST_ID)]) -> pages.RequestPage:
        wanted = RequestId(int(request_id, 16))
        with _reading(node) as tx:
            return pages.page(tx, wanted, _known(detail(node, tx, wanted)), node.models)

    @app.get("/view/disputes", summary="Games and panel cases, the newest first", responses=busy)
    def disputes(
        before: Annotated[int | None, Query(ge=1, lt=1 << 62, description="`next` of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> pages.Disputes:
        with _reading(node) as tx:
            return pages.disputes(tx, before, limit)

    @app.get("/view/money", summary="Earned and paid, by week and service", responses=busy)
    def earned(weeks: Annotated[int, Query(ge=1, le=520)] = 26) -> pages.Money:
        with _reading(node) as tx:
            return pages.earned(tx, weeks)

    for path, (content, kind) in FILES.items():
        app.add_api_route(path, _sends(content, kind), include_in_schema=False)


def _sends(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(content, media_type=kind)

    return send


@contextmanager
def _reading(node: Node) -> Iterator[Tx]:
    """The journal. Raises HTTPException where it cannot be read now."""
    try:
        with node.journal.read() as tx:
            yield tx
    except Transient as error:
        raise HTTPException(503, str(error)) from error


def _known(found: RequestDetail | None) -> RequestDetail:
    if found is None:
        raise HTTPException(404, "this node knows no such request")
    return found


def current_jobs(node: Node, state: str | None, limit: int) -> JobsOut:
    """From memory."""
    view, work = node.status.view, [WorkOut.of(each) for each in node.workshop.in_hand.now()]
    if view is None:
        return JobsOut(requests=[], cases=[], engine=node.workshop.running, work=work, total_requests=0)
    wanted = [record for record in view.requests if state is None or record.state == state]
    return JobsOut(
        requests=[RequestOut.of(record, _judgement(node, record)) for record in wanted[:limit]],
        cases=[CaseOut.of(case) for case in list(view.cases.values())[:limit]],
        engine=node.workshop.running,
        work=work,
        total_requests=len(wanted),
    )


def detail(node: Node, tx: Tx, request_id: RequestId) -> RequestDetail | None:
    """From the journal."""
    job = tx.job(request_key(request_id))
    if job is None:
        return None
    record = RequestRecord.of(job)
    found = None
    if record.posted is not None:
        verdict = tx.job(verdict_key(record.id, record.posted.answer.hash))
        found = None if verdict is None else Judgement.of(verdict)
    cases = pages.cases_of(tx, record.id)
    names = [f"{record.id:064x}", *(case.id.hex() for case in cases)]
    about = sa.or_(*(intents.c.key.contains(name) for name in names))
    keys = tx.connection.execute(sa.select(intents.c.key, intents.c.signer).where(about)).all()
    rows = [Outbox(tx, signer).require(key) for key, signer in keys]
    return RequestDetail(
        **RequestOut.of(record, found).model_dump(),
        cases=[CaseOut.of(case) for case in cases],
        transactions=[TransactionOut.of(row) for row in rows],
    )


def _judgement(node: Node, record: RequestRecord) -> Judgement | None:
    view = node.status.view
    if view is None or record.posted is None:
        return None
    return view.verdicts.get((record.id, record.posted.answer.hash))
