"""An OpenAI-compatible API over the node's models: off unless the operator names its callers.

Every reply carries, as `didyma`, what judges it: model, prompt, parameters, seed, output, token count and the root that
an answer on chain would commit to. `didyma verify --reply FILE` runs it again. What the chain wants goes first
(`Workshop.beside`), so a reply may take long while a node has turns.
"""

import asyncio
import codecs
import contextlib
import json
import math
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from oracle.api.callers import Caller, Callers
from oracle.api.guard import Receive, Scope, Send
from oracle.api.inference_models import ChatAsked, CompletionAsked, ResponseFormat
from oracle.api.weights import Weights
from oracle.client.chat import check_words, enveloped
from oracle.client.choices import Choices
from oracle.client.patterns.patterned import Patterned
from oracle.engines.answer_types import Verdict, heading
from oracle.engines.base import Params
from oracle.errors import BadType, Refused, Transient
from oracle.models.store import ModelStore
from oracle.node.daemon import Node
from oracle.node.guests import Answer, Guests, Offer, Piece

BODY_BYTES, BODY_SECONDS = 1 << 18, 30
ASK_SECONDS = 1.0  # between two looks at whether a caller is still there
MOST_WAITING, MOST_OF_A_CALLER = 256, 224
"""Calls in hand, of all and of one; more are told to come again."""
FRACTION_BITS = 16
DEFAULT_TOKENS = 256
"""Of a chat that names no number."""
T = TypeVar("T")
Pieces = AsyncGenerator[Piece | Answer, None]


class ApiError(Exception):
    """What a client hears, in the form that OpenAI's have."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None, wait: float | None = None):
        super().__init__(message)
        self.status, self.kind, self.param, self.wait = status, kind, param, wait

    @property
    def body(self) -> dict[str, Any]:
        return {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": None}}

    @property
    def response(self) -> JSONResponse:
        headers = {} if self.wait is None else {"retry-after": str(math.ceil(self.wait))}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return JSONResponse(self.body, self.status, headers)


@dataclass(frozen=True)
class Question:
    """A call, as the node answers it."""

    offer: Offer
    prompt: bytes
    params: Params
    kind: Choices[str] | Patterned[Any] | None = None
    """What may answer; None for any text."""
    likeliest: int | None = None
    """How many log-probabilities to tell beside each token's own; None for none."""


class Inference:
    """The calls of one node."""

    def __init__(self, node: Node, guests: Guests, callers: Callers) -> None:
        self._node, self._guests, self.callers = node, guests, callers
        self._in_hand: Counter[str] = Counter()
        self._typing: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By caller: whose schemas take long keeps nobody else waiting but for one of them."""

    def offers(self) -> dict[str, Offer]:
        """What is served, by every name that a caller may use; a name that two models share names neither."""
        view = self._node.status.view
        found: dict[str, Offer] = {}
        shared: set[str] = set()
        for service in () if view is None else sorted(view.services.values(), key=lambda service: service.id):
            with contextlib.suppress(Refused):  # its file is not here
                offer = self._guests.offer(service)
                if offer is None:
                    continue
                names = ("0x" + service.id.hex(), "0x" + offer.manifest.model_id.hex(), offer.manifest.name)
                for name in names:
                    if name in found and found[name].manifest.model_id != offer.manifest.model_id:
                        shared.add(name)
                    found.setdefault(name, offer)
        return {name: offer for name, offer in found.items() if name not in shared}

    def offer(self, name: str) -> Offer:
        """Raises ApiError."""
        found = self.offers().get(name)
        if found is None:
            raise ApiError(404, "invalid_request_error", "no such model here: GET /v1/models lists them", "model")
        return found

    async def completion(self, asked: CompletionAsked) -> Question:
        offer = self.offer(asked.model)
        prompt = _said(lambda: _asking(offer, [_utf8(asked.prompt)]))
        params = _params(asked.max_tokens, asked.temperature, asked.seed)
        return Question(offer, prompt, params, likeliest=asked.logprobs)

    async def chat(self, asked: ChatAsked, caller: Caller) -> Question:
        offer = self.offer(asked.model)
        turns = list(asked.messages)
        system = b"\n\n".join(turn.words for turn in turns if turn.role in ("system", "developer"))
        turns = [turn for turn in turns if turn.role in ("user", "assistant")]
        if [turn.role for turn in turns] != ["user", "assistant"] * (len(turns) // 2) + ["user"]:
            raise ApiError(400, "invalid_request_error", "turns go user, assistant, ..., user", "messages")
        prompt = _said(lambda: _asking(offer, [turn.words for turn in turns], system))
        async with self._typing[caller.name]:
            kind = await self._kind(offer, asked.response_format)
        if kind is not None and asked.logprobs:
            message = "a choice has a margin in place of log-probabilities, and a pattern has none"
            raise ApiError(400, "invalid_request_error", message, "logprobs")
        prompt = prompt if kind is None else kind.asking(prompt)
        usual = DEFAULT_TOKENS if kind is None else kind.least_tokens
        if isinstance(kind, Patterned):
            usual = max(usual, min(kind.most_tokens or DEFAULT_TOKENS, DEFAULT_TOKENS))
        most = asked.max_completion_tokens or asked.max_tokens or usual
        if kind is not None and most < kind.least_tokens:
            message = f"these words need {kind.least_tokens} tokens"
            if isinstance(kind, Patterned):
                message = f"an answer of this schema may need {kind.least_tokens} tokens"
            raise ApiError(400, "invalid_request_error", message, "max_completion_tokens")
        likeliest = (asked.top_logprobs or 0) if asked.logprobs else None
        return Question(offer, prompt, _params(most, asked.temperature, asked.seed), kind, likeliest)

    async def _kind(self, offer: Offer, asked: ResponseFormat | None) -> Choices[str] | Patterned[Any] | None:
        """Raises ApiError."""
        if asked is not None and asked.words is not None:
            return await _served(self._guests.choices(offer, asked.words))
        if asked is not None and asked.form is not None:
            try:
                return await self._guests.pattern(offer, asked.form)
            except BadType as error:
                raise ApiError(400, "invalid_request_error", str(error), "response_format") from error
        return None

    async def pieces(self, question: Question, caller: Caller) -> AsyncGenerator[Piece | Answer, None]:
        """The answer as it comes. Raises ApiError."""
        offer, params, most = question.offer, question.params, question.offer.service.terms.max_prompt_bytes
        if len(question.prompt) > most:
            raise ApiError(400, "invalid_request_error", f"a prompt of {len(question.prompt)} bytes; {most} are taken")
        if question.kind is not None:
            params = Params(params.max_tokens, answer_type=heading(question.prompt))
        taken, used = len(question.prompt) + params.max_tokens, 0  # a token a byte at most
        wait = self.callers.take(caller, taken)
        if wait:
            message = f"up to {taken} tokens are more than is left of {caller.budget} a minute"
            raise ApiError(429, "rate_limit_error", message, wait=None if math.isinf(wait) else wait)
        try:
            prompt = await _served(self._guests.tokenize(offer.service.id, question.prompt))
            used = len(prompt)
            async with contextlib.aclosing(self._guests.answer(offer, prompt, params, question.likeliest)) as stream:
                while (found := await _served(anext(stream, None))) is not None:
                    used = len(prompt) + len(found.tokens) if isinstance(found, Answer) else used + len(found.tokens)
                    yield found
        finally:
            self.callers.give_back(caller, taken - used)

    @contextlib.contextmanager
    def in_hand(self, caller: Caller) -> Iterator[None]:
        """Counts a call from its first byte to its last. Raises ApiError."""
        if self._in_hand.total() >= MOST_WAITING or self._in_hand[caller.name] >= MOST_OF_A_CALLER:
            raise ApiError(429, "rate_limit_error", f"{self._in_hand.total()} calls are in hand: come again", wait=5)
        self._in_hand[caller.name] += 1
        try:
            yield
        finally:
            self._in_hand[caller.name] -= 1


def create_inference_app(node: Node) -> FastAPI:
    """The application of one node. Raises BadSettings."""
    settings = node.settings
    assert settings.inference_callers is not None
    guests = Guests(node.workshop, ModelStore(settings.models), node.contracts)
    inference = Inference(node, guests, Callers(settings.inference_callers))
    app = FastAPI(title="Didyma models", version="1", docs_url=None, redoc_url=None, openapi_url=None)

    async def body(request: Request, kind: type[T], held: contextlib.ExitStack) -> tuple[T, Caller]:
        caller = inference.callers.find(request.headers.get("authorization", ""))
        if caller is None:
            raise ApiError(401, "authentication_error", "a token is needed: Authorization: Bearer ...")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise ApiError(415, "invalid_request_error", "calls are JSON")  # which no web page sends elsewhere unasked
        held.enter_context(inference.in_hand(caller))
        try:
            async with asyncio.timeout(BODY_SECONDS):
                data = await _body(request)
        except TimeoutError:
            raise ApiError(408, "invalid_request_error", f"a call must be sent within {BODY_SECONDS} s") from None
        return _parsed(kind, data), caller

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        if inference.callers.find(request.headers.get("authorization", "")) is None:
            raise ApiError(401, "authentication_error", "a token is needed: Authorization: Bearer ...")
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "didyma"} for name in inference.offers()]
        return {"object": "list", "data": listed}

    @app.post("/v1/completions")
    async def completions(request: Request) -> Any:
        with contextlib.ExitStack() as held:
            asked, caller = await body(request, CompletionAsked, held)
            question = await inference.completion(asked)
            form = _Form(question, asked.model, chat=False)
            return await _replied(request, inference.pieces(question, caller), form, held if asked.stream else None)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Any:
        with contextlib.ExitStack() as held:
            asked, caller = await body(request, ChatAsked, held)
            question = await inference.chat(asked, caller)
            usage = asked.stream_options is not None and asked.stream_options.include_usage
            form = _Form(question, asked.model, chat=True, with_usage=usage)
            return await _replied(request, inference.pieces(question, caller), form, held if asked.stream else None)

    @app.exception_handler(ApiError)
    async def refused(_request: object, error: ApiError) -> JSONResponse:
        return error.response

    @app.exception_handler(HTTPException)
    async def unknown(_request: object, error: HTTPException) -> JSONResponse:
        return ApiError(error.status_code, "invalid_request_error", str(error.detail)).response

    return app


@dataclass(frozen=True)
class _Form:
    """How a question's reply is written."""

    question: Question
    model: str
    chat: bool
    with_usage: bool = False

    def whole(self, answer: Answer, name: str, created: int) -> dict[str, Any]:
        text, reason = self.text_of(answer), "stop" if answer.ended else "length"
        told = Weights(self.chat).told(answer.weights)
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason, "logprobs": told}
        choice |= {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        return self._head(name, created, "") | {
            "choices": [choice],
            "usage": _usage(answer),
            "didyma": self.evidence(answer),
        }

    def piece(
        self, text: str, name: str, created: int, first: bool, told: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """told: the log-probabilities of its tokens."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": None, "logprobs": told}
        delta = {"role": "assistant", "content": text} if first else {"content": text}
        choice |= {"delta": delta} if self.chat else {"text": text}
        return self._head(name, created, ".chunk") | {"choices": [choice]}

    def last(self, answer: Answer, name: str, created: int) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop" if answer.ended else "length", "logprobs": None}
        nothing: dict[str, Any] = {"delta": {}} if self.chat else {"text": ""}
        choice |= nothing
        found = self._head(name, created, ".chunk") | {"choices": [choice], "didyma": self.evidence(answer)}
        return found | ({"usage": _usage(answer)} if self.with_usage else {})

    def evidence(self, answer: Answer) -> dict[str, Any]:
        """All that it takes to judge the reply."""
        offer, params = self.question.offer, self.question.params
        return {
            "model": "0x" + offer.manifest.model_id.hex(),
            "service": "0x" + offer.service.id.hex(),
            "judged_by": "game" if offer.for_game else "panel",
            "prompt": "0x" + self.question.prompt.hex(),
            "max_tokens": params.max_tokens,
            "temperature": params.temperature,
            "seed": "0x" + params.seed.hex(),
            "output": "0x" + answer.text.hex(),
            "output_digest": "0x" + answer.digest.hex(),
            "token_count": len(answer.tokens),
            "tokens_root": "0x" + answer.root.hex(),
        }

    def text_of(self, answer: Answer) -> str:
        choices = self.question.kind
        if not isinstance(choices, Choices):
            return answer.text.decode("utf-8", "replace")
        verdict = Verdict.of(answer.text)
        return "" if verdict is None or verdict.index >= len(choices.words) else choices.words[verdict.index]

    def _head(self, name: str, created: int, chunk: str) -> dict[str, Any]:
        kind = f"chat.completion{chunk}" if self.chat else "text_completion"
        return {"id": name, "object": kind, "created": created, "model": self.model}


class _Stream(StreamingResponse):
    """Gives back what its call holds, also where nobody reads a byte of it."""

    def __init__(self, events: AsyncIterator[bytes], pieces: Pieces, held: contextlib.ExitStack) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._pieces, self._held = pieces, held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            try:
                await super().__call__(scope, receive, send)
            finally:
                await self._pieces.aclose()


async def _replied(request: Request, pieces: Pieces, form: _Form, held: contextlib.ExitStack | None) -> Any:
    """held: what a stream's call holds until its end; None for a reply in one."""
    name, created = ("chatcmpl-" if form.chat else "cmpl-") + secrets.token_hex(12), int(time.time())
    found = await _next(request, pieces)  # what is refused is refused with a status, also of a stream
    if held is not None:
        return _Stream(_events(found, pieces, form, name, created), pieces, held.pop_all())
    async with contextlib.aclosing(pieces):
        while not isinstance(found, Answer):
            found = await _next(request, pieces)
    return form.whole(found, name, created)


async def _next(request: Request, pieces: Pieces) -> Piece | Answer:
    """Raises ApiError, also where nobody waits for it any more."""
    waiting = asyncio.ensure_future(anext(pieces))
    while not waiting.done():
        await asyncio.wait([waiting], timeout=ASK_SECONDS)
        if not waiting.done() and await request.is_disconnected():
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            raise ApiError(408, "invalid_request_error", "nobody waits for this reply")
    return waiting.result()


async def _events(first: Piece | Answer, pieces: Pieces, form: _Form, name: str, created: int) -> AsyncIterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    is_first, found = True, first
    weights = Weights(form.chat)
    try:
        while True:
            told = None
            if isinstance(found, Piece):
                text, told = decoder.decode(found.text), weights.told(found.weights)
            else:
                text = form.text_of(found) if is_first else decoder.decode(b"", final=True)
            if text or told or is_first:
                yield _event(form.piece(text, name, created, is_first, told))
                is_first = False
            if isinstance(found, Answer):
                yield _event(form.last(found, name, created))
                yield b"data: [DONE]\n\n"
                return
            found = await anext(pieces)
    except ApiError as error:
        yield _event(error.body)


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


def _usage(answer: Answer) -> dict[str, int]:
    count = len(answer.tokens)
    total = answer.prompt_tokens + count
    return {"prompt_tokens": answer.prompt_tokens, "completion_tokens": count, "total_tokens": total}


def _params(most: int, temperature: float, seed: int | None) -> Params:
    fixed = round(temperature * (1 << FRACTION_BITS))
    drawn = bytes(32) if not fixed else secrets.token_bytes(32) if seed is None else seed.to_bytes(32, "big")
    return Params(most, fixed, seed=drawn)


def _asking(offer: Offer, turns: Sequence[bytes], system: bytes = b"") -> bytes:
    """The prompt. Raises Refused."""
    if offer.for_game:
        check_words(offer.manifest)
    return enveloped(offer.manifest, turns, system)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _said(make: Callable[[], T]) -> T:
    """Raises ApiError where what was asked makes no prompt."""
    try:
        return make()
    except Refused as error:
        raise ApiError(400, "invalid_request_error", str(error)) from error


async def _served(work: Awaitable[T]) -> T:
    """Raises ApiError where the engine cannot, or not now."""
    try:
        return await work
    except Refused as error:
        raise ApiError(400, "invalid_request_error", str(error)) from error
    except Transient as error:
        raise ApiError(503, "server_error", str(error), wait=5) from error


async def _body(request: Request) -> bytes:
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > BODY_BYTES:
            raise ApiError(413, "invalid_request_error", f"a call has {BODY_BYTES} bytes at most")
    return bytes(found)


def _parsed(kind: type[T], data: bytes) -> T:
    try:
        found: T = kind.model_validate_json(data)  # type: ignore[attr-defined]
    except ValueError as error:
        errors = error.errors(include_url=False, include_input=False) if isinstance(error, ValidationError) else []
        param = ".".join(map(str, errors[0]["loc"])) if errors else None
        message = errors[0]["msg"] if errors else "no JSON"
        raise ApiError(400, "invalid_request_error", f"{param}: {message}" if param else message, param) from None
    return found
