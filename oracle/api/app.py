"""The node's HTTP API: health, metrics, jobs, one request, a page. Read-only; nothing signs through HTTP.

Everything but the details of one request comes from memory, so a stalled chain or a busy journal does not stall a
scrape.
"""

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import FastAPI, HTTPException, Path, Query, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from oracle.api.guard import Guard
from oracle.api.models import CaseOut, JobsOut, Readiness, Refusal, RequestDetail, RequestOut, TransactionOut
from oracle.api.page import STYLE, page
from oracle.api.scrape import Scraper
from oracle.errors import Transient
from oracle.ids import RequestId
from oracle.journal.journal import Tx
from oracle.journal.outbox import Outbox
from oracle.journal.schema import intents
from oracle.node.daemon import Node
from oracle.node.records import CaseRecord, Judgement, RequestRecord, request_key, verdict_key

LOCAL_NAMES = ("127.0.0.1", "::1", "localhost")
REQUEST_ID = r"^0x[0-9a-fA-F]{64}$"

REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "The host name is not one of this node's."},
    401: {"model": Refusal, "description": "A token is needed."},
    413: {"model": Refusal, "description": "This API takes no request bodies."},
}


def create_app(node: Node) -> FastAPI:
    """The application of one node."""
    app = FastAPI(title="Didyma node", version="1", docs_url=None, redoc_url=None, responses=REFUSED)
    settings = node.settings
    token = None if settings.api_token is None else settings.api_token.get_secret_value()
    app.add_middleware(Guard, hosts={*LOCAL_NAMES, settings.api_host, *settings.api_names}, token=token)
    scraper = Scraper(node)

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
        try:
            with node.journal.read() as tx:
                found = detail(node, tx, RequestId(int(request_id, 16)))
        except Transient as error:
            raise HTTPException(503, str(error)) from error
        if found is None:
            raise HTTPException(404, "this node knows no such request")
        return found

    @app.get("/", summary="The operator's page", response_class=HTMLResponse)
    async def operator_page() -> HTMLResponse:
        return HTMLResponse(page(node, current_jobs(node, None, 50)))

    @app.get("/style.css", include_in_schema=False)
    async def style() -> Response:
        return Response(STYLE, media_type="text/css")

    @app.exception_handler(405)
    async def only_reads(_request: object, _error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "this API only reads"}, 405, {"allow": "GET"})

    return app


def current_jobs(node: Node, state: str | None, limit: int) -> JobsOut:
    """From memory."""
    view = node.status.view
    if view is None:
        return JobsOut(requests=[], cases=[], engine=node.workshop.running, total_requests=0)
    wanted = [record for record in view.requests if state is None or record.state == state]
    return JobsOut(
        requests=[RequestOut.of(record, _judgement(node, record)) for record in wanted[:limit]],
        cases=[CaseOut.of(case) for case in list(view.cases.values())[:limit]],
        engine=node.workshop.running,
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
    cases = [case for case in map(CaseRecord.of, tx.jobs("case")) if case.request == record.id]
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
