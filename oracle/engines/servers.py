"""Inference servers that tell log-probabilities: how vLLM, SGLang and llama.cpp's server are asked for them, by token
ids.

In the daemon, never in a worker: a worker asks through it (`Relay`) and learns neither address nor token. A server's
reply is as little trusted as a worker's question: both are bounded, and every id and number is checked. Errors name the
kind of server and what it said as a status, never its address, its reply or a prompt.

What each of them gives, as their sources have it (vLLM 0.26, SGLang 0.5, llama.cpp b11434):

- vLLM: of each prompt token the K likeliest in its place, and the token itself (`prompt_logprobs`); of the token that
  follows the K likeliest (`logprobs`). K is 20 at most, unless the server runs with `--max-logprobs -1`.
- SGLang: the same (`/generate` with `return_logprob`), from any token of the prompt on.
- llama.cpp: nothing of prompt tokens. Only of the token that follows (`n_probs`), so a row of logits costs a request.
  A token that ends in the middle of a letter would be left out of the reply; so the token to come is fixed by a bias,
  which the probabilities before sampling do not see.
"""

import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import httpx

from oracle.engines.worker_wire import BadMessage, Message
from oracle.errors import BadSettings, EngineServerFailed

MOST_TOKENS, MOST_WIDTH = 1 << 20, 1 << 19
MOST_VALUES = 1 << 19
"""Pairs of a reply: 10 MB on their way to a worker."""
REPLY_BYTES = 256 << 20
CONNECT_SECONDS, READ_SECONDS, REPLY_SECONDS = 5, 120, 300
LEAST_LOG = -9999.0
"""For what a server calls impossible."""
KINDS = ("vllm", "sglang", "llama.cpp")
HINTS = {
    "vllm": "start it with --max-logprobs -1, and a --max-model-len of the manifest's context",
    "sglang": "start it with a --context-length of the manifest's context",
    "llama.cpp": "start it with a --ctx-size of the manifest's context for each slot",
}

Row = dict[int, float]
"""Log-probabilities by token id: of the likeliest, and of the token that does follow where the server tells it."""


@dataclass(frozen=True)
class EngineServer:
    """One server, and the model it serves. Thread-safe."""

    kind: str
    """One of KINDS."""
    url: str = field(repr=False)
    """Without a path. May hold a token, as the password before the host."""
    name: str | None = None
    """The model's name there, where the server has several."""

    @classmethod
    def parse(cls, text: str) -> "EngineServer":
        """From KIND+URL#NAME. Raises BadSettings, which does not repeat it."""
        kind, plus, rest = text.partition("+")
        address, _, name = rest.partition("#")
        if kind not in KINDS or not plus:
            raise BadSettings(f"an engine's server is KIND+URL, of a kind in {', '.join(KINDS)}")
        try:
            url = httpx.URL(address)
        except httpx.InvalidURL:
            raise BadSettings("an engine's server has no valid URL") from None
        if url.scheme not in ("http", "https") or not url.host or url.path not in ("", "/") or url.query:
            raise BadSettings("an engine's server is an http or https URL without a path")
        if url.scheme == "http" and not _is_loopback(url.host):
            raise BadSettings("an engine's server beyond this machine needs https: what it says costs bonds")
        return cls(kind, address.rstrip("/"), name or None)

    def answer(self, question: Message) -> Message:
        """Rows of log-probabilities, as [ids, values with 16 fraction bits], the likeliest first.

        question: `tokens`; after how many of the last of them to tell a row (`rows`); at least how many ids of each
        (`width`); `filler`, a token of the vocabulary that spells nothing.

        Raises BadMessage, EngineServerFailed.
        """
        tokens, rows, width, filler = _checked(question)
        deadline = time.monotonic() + REPLY_SECONDS
        timeout = httpx.Timeout(CONNECT_SECONDS, read=READ_SECONDS)
        url = httpx.URL(self.url)
        headers = {"authorization": f"Bearer {url.password}"} if url.password else {}
        bare = url.copy_with(username=None, password=None)
        with httpx.Client(timeout=timeout, headers=headers, trust_env=False) as client:
            asked = _Asked(client, bare, self.kind, self.name, deadline)
            try:
                found = list(ADAPTERS[self.kind](asked, tokens, rows, width, filler))
            except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError):
                raise EngineServerFailed(f"the engine's server ({self.kind}) says something else than asked") from None
        if len(found) != rows or any(len(row) < width for row in found):
            told = min((len(row) for row in found), default=0)
            raise EngineServerFailed(
                f"the engine's server ({self.kind}) tells {told} log-probabilities of {width}: {HINTS[self.kind]}"
            )
        return {"rows": [_sorted(row) for row in found]}


@dataclass(frozen=True)
class _Asked:
    """A server while one question is put to it."""

    client: httpx.Client
    url: httpx.URL
    kind: str
    name: str | None
    deadline: float

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._told("POST", path, body)

    def get(self, path: str) -> Any:
        return self._told("GET", path, None)

    def _told(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        """JSON. Raises EngineServerFailed."""
        who = f"the engine's server ({self.kind})"
        found = bytearray()
        try:
            with self.client.stream(method, self.url.join(path), json=body) as response:
                if response.status_code != 200:
                    raise EngineServerFailed(f"{who} refuses with HTTP {response.status_code}: {HINTS[self.kind]}")
                for chunk in response.iter_bytes():
                    found += chunk
                    if len(found) > REPLY_BYTES:
                        raise EngineServerFailed(f"{who} replies with more than {REPLY_BYTES >> 20} MiB")
                    if time.monotonic() > self.deadline:
                        raise EngineServerFailed(f"{who} takes longer than {REPLY_SECONDS} s")
        except httpx.TimeoutException:
            raise EngineServerFailed(f"{who} does not answer in time") from None
        except httpx.HTTPError as error:  # its words may hold the URL
            raise EngineServerFailed(f"{who} cannot be reached ({type(error).__name__})") from None
        try:
            return json.loads(found)
        except ValueError:
            raise EngineServerFailed(f"{who} replies with no JSON") from None


def _vllm(asked: _Asked, tokens: list[int], rows: int, width: int, filler: int) -> Iterator[Row]:
    name = asked.name or asked.get("/v1/models")["data"][0]["id"]
    body = {
        "model": name,
        "prompt": tokens,
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": width,
        "return_tokens_as_token_ids": True,
        "add_special_tokens": False,
    }
    (choice,) = asked.post("/v1/completions", body | ({"prompt_logprobs": width} if rows > 1 else {}))["choices"]
    if rows > 1:
        told = choice["prompt_logprobs"]
        if len(told) != len(tokens):
            raise ValueError("of another prompt")
        for row in told[1 - rows :]:
            yield {int(token): _log(each["logprob"]) for token, each in row.items()}
    (last,) = choice["logprobs"]["top_logprobs"]
    yield {_numbered(token): _log(value) for token, value in last.items()}  # "token_id:17"


def _sglang(asked: _Asked, tokens: list[int], rows: int, width: int, filler: int) -> Iterator[Row]:
    body = {
        "input_ids": tokens,
        "sampling_params": {"max_new_tokens": 1, "temperature": 0},
        "return_logprob": True,
        "logprob_start_len": len(tokens) - rows,
        "top_logprobs_num": width,
    }
    said = asked.post("/generate", body)["meta_info"]
    for position in range(1 - rows, 0):  # from the end: what stands before them differs by version
        value, token = said["input_token_logprobs"][position][:2]
        if token != tokens[position]:
            raise ValueError("of another prompt")
        yield _listed(said["input_top_logprobs"][position]) | {_id(token): _log(value)}
    yield _listed(said["output_top_logprobs"][0])


def _llama_cpp(asked: _Asked, tokens: list[int], rows: int, width: int, filler: int) -> Iterator[Row]:
    for end in range(len(tokens) - rows + 1, len(tokens) + 1):
        body = {
            "prompt": tokens[:end],
            "n_predict": 1,
            "temperature": -1,
            "n_probs": width,
            "post_sampling_probs": False,
            "cache_prompt": True,
            "logit_bias": [[filler, 1_000_000.0]],
            "stream": False,
        }
        (told,) = asked.post("/completion", body)["completion_probabilities"]
        if told["id"] != filler:
            raise ValueError("of another token")
        yield {_id(each["id"]): _log(each["logprob"]) for each in told["top_logprobs"]}


ADAPTERS = {"vllm": _vllm, "sglang": _sglang, "llama.cpp": _llama_cpp}


def _checked(question: Message) -> tuple[list[int], int, int, int]:
    """Raises BadMessage."""
    tokens, numbers = question.get("tokens"), [question.get(name) for name in ("rows", "width", "filler")]
    if not isinstance(tokens, list) or not 0 < len(tokens) <= MOST_TOKENS:
        raise BadMessage("a question without tokens")
    if not all(type(each) is int and 0 <= each < 1 << 31 for each in (*tokens, *numbers)):
        raise BadMessage("a question's numbers are no unsigned integers")
    rows, width, filler = (int(str(number)) for number in numbers)
    if not 0 < rows <= len(tokens) or not 0 < width <= MOST_WIDTH or rows * width > MOST_VALUES:
        raise BadMessage("a question asks for too much")
    return tokens, rows, width, filler


def _sorted(row: Row) -> list[list[Any]]:
    """[ids, values with 16 fraction bits], the likeliest first, the lowest id of equal ones."""
    pairs = sorted(row.items(), key=lambda pair: (-pair[1], pair[0]))
    return [[token for token, _ in pairs], [round(value * 65536) for _, value in pairs]]


def _listed(entries: Sequence[Sequence[Any]]) -> Row:
    return {_id(token): _log(value) for value, token, *_ in entries}


def _id(token: Any) -> int:
    if type(token) is not int or token < 0:
        raise ValueError("no token")
    return token


def _numbered(token: str) -> int:
    found = re.fullmatch(r"token_id[:_](\d{1,9})", token)
    if found is None:
        raise ValueError("no token's number")
    return int(found[1])


def _log(value: Any) -> float:
    """A log-probability; impossible where there is none, as JSON has no infinity."""
    if value is None:
        return LEAST_LOG
    if type(value) not in (int, float) or math.isnan(value) or value > 1e-3:
        raise ValueError("no log-probability")
    return max(float(value), LEAST_LOG)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
