"""Callers of the node's OpenAI-compatible API who send anything at all: what the API's own types allow and what they
forbid, and bodies that never end. Every reply is a documented one, and the node goes on.

The searches are seeded; `FUZZ_EXAMPLES` makes them longer.
"""

import asyncio
import os
from typing import Any

import openai
import pytest
import schemathesis
from e2e.test_inference import MODEL, TOKEN, WORDS, built, client, node, url  # noqa: F401 - fixtures
from e2e.test_text_service import store  # noqa: F401 - a fixture
from hypothesis import HealthCheck, given, settings
from pydantic import BaseModel
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from oracle.api import inference
from oracle.api.inference_models import ChatAsked, CompletionAsked

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "30"))
CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]
REF = "#/components/schemas/{model}"
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"enum": ["invalid_request_error", "rate_limit_error"]},
            },
        }
    },
}


def api() -> dict[str, Any]:
    """The API as its types say, of the one model that is served and of short answers."""
    components: dict[str, Any] = {"Error": ERROR}
    paths = {}
    kinds: dict[str, type[BaseModel]] = {"/completions": CompletionAsked, "/chat/completions": ChatAsked}
    for path, kind in kinds.items():
        schema = kind.model_json_schema(ref_template=REF)
        components |= schema.pop("$defs", {})
        schema["properties"]["model"] = {"const": MODEL}
        for name in ("max_tokens", "max_completion_tokens"):
            if name in schema["properties"]:
                schema["properties"][name] = {"type": "integer", "minimum": 1, "maximum": 4}
        if path == "/chat/completions":
            schema["required"] = [*schema["required"], "max_tokens"]
        failed = {
            "description": "refused",
            "content": {"application/json": {"schema": {"$ref": REF.format(model="Error")}}},
        }
        replies = {code: failed for code in ("400", "404", "408", "413", "415", "429")}
        body = {"required": True, "content": {"application/json": {"schema": schema}}}
        paths[path] = {"post": {"requestBody": body, "responses": replies | {"200": {"description": "a reply"}}}}
    info = {"title": "models", "version": "1"}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": components}}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "forbidden"])
@pytest.mark.parametrize("path", ["/completions", "/chat/completions"])
async def test_call__whatever_its_types_allow_or_forbid__is_answered_as_documented(url, client, path, mode):  # noqa: F811
    operation = schemathesis.openapi.from_dict(api())[path]["POST"]
    seen: set[int] = set()

    @settings(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def search(case: Any) -> None:
        headers = {"authorization": f"Bearer {TOKEN}"}
        seen.add(case.call_and_validate(base_url=url, headers=headers, checks=CHECKS).status_code)

    await asyncio.to_thread(search)
    reached = 200 if mode is GenerationMode.POSITIVE and path == "/completions" else 400  # chats rarely take turns
    assert reached in seen, seen
    reply = await client.completions.create(model=MODEL, prompt=WORDS, max_tokens=2)
    assert reply.usage.completion_tokens, "the node goes on"


async def test_body__sent_byte_by_byte_without_an_end__is_408_and_others_are_answered(url, client, monkeypatch):  # noqa: F811
    monkeypatch.setattr(inference, "BODY_SECONDS", 1)
    host, port = url.removeprefix("http://").split("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {TOKEN}\r\n"
    writer.write(f"{head}content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{".encode())
    answered = asyncio.create_task(reader.readline())
    while not answered.done():
        writer.write(b" ")
        await asyncio.sleep(0.05)
    assert b" 408 " in await answered
    writer.close()
    assert isinstance(client, openai.AsyncOpenAI)
    assert (await client.completions.create(model=MODEL, prompt=WORDS, max_tokens=2)).usage.completion_tokens
