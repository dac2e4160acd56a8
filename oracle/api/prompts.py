"""Where askers leave private prompts that are too long for the chain: one call, open to anyone, on a port of its own.

It takes only what an open request on chain names and a key of this node can read, and tells nothing.
"""

import asyncio
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.middleware.cors import CORSMiddleware
from pydantic import BaseModel, Field

from oracle.api.models import Refusal
from oracle.errors import MailboxFull, NobodyAsked, NotForThisKey, NotPrivate, PromptNotTaken, Refused
from oracle.node.daemon import Node

MOST_SECONDS = 60
"""How long a caller may take to send a prompt."""
STATUS: dict[type[Refused], int] = {NotPrivate: 400, NotForThisKey: 403, NobodyAsked: 404, MailboxFull: 503}
REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "These bytes are no private prompt."},
    403: {"model": Refusal, "description": "It is sealed to other nodes' keys."},
    404: {"model": Refusal, "description": "No open request names it: ask first, then leave it; or try again soon."},
    408: {"model": Refusal, "description": "It took too long to send."},
    413: {"model": Refusal, "description": "It is too long for this node."},
    503: {"model": Refusal, "description": "Too many prompts wait here."},
}


class Taken(BaseModel):
    """The node has the prompt and will answer in its turn."""

    prompt_bytes: int = Field(description="Of the sealed prompt.")


def create_prompts_app(node: Node) -> FastAPI:
    """The application of one node."""
    app = FastAPI(title="Didyma private prompts", version="1", docs_url=None, redoc_url=None)
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["POST"], allow_headers=["content-type"])

    @app.post("/prompts", summary="Leave a sealed prompt", status_code=202, responses=REFUSED)
    async def leave(request: Request) -> Taken:
        try:
            async with asyncio.timeout(MOST_SECONDS):
                sealed = await _body(request, node.settings.prompt_bytes)
        except TimeoutError:
            raise HTTPException(408, f"a prompt must be sent within {MOST_SECONDS} seconds") from None
        try:
            node.leave(sealed)
        except PromptNotTaken as error:
            raise HTTPException(STATUS[type(error)], str(error)) from error
        return Taken(prompt_bytes=len(sealed))

    return app


async def _body(request: Request, most: int) -> bytes:
    """Raises HTTPException as soon as it is too long, whatever its headers say."""
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > most:
            raise HTTPException(413, f"this node takes {most} bytes")
    return bytes(found)
