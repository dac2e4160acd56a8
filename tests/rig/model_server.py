"""A server on loopback that speaks as vLLM, SGLang or llama.cpp's server do, with a model's real log-probabilities.

Written from those servers' sources, with their oddities: vLLM caps how many it tells and adds the token itself,
SGLang's lists begin with nothing, llama.cpp's reply leaves out what ends within a letter.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from oracle.engines.llama_native import NativeModel

BIAS_WINS = 1000.0


@dataclass
class Behaviour:
    """What the server does; a test may change it while it runs."""

    cap: int | None = None
    """Most log-probabilities a token (vLLM's --max-logprobs)."""
    token: str | None = None
    """Asked of callers."""
    change: Callable[[Any], Any] = lambda body: body
    """What becomes of a reply before it is sent."""
    status: int = 200
    wait: float = 0.0
    hang_up: bool = False
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """(path, body) of each request."""


class ModelServer:
    def __init__(self, path: Any, context: int, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.model = NativeModel(path)
        self._sequence = self.model.sequence(context, 32, 1)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def log_probabilities(self, tokens: list[int]) -> Any:
        """(len(tokens), V): of what comes after each."""
        rows: list[Any] = []
        with self._lock:
            self._sequence.truncate(0)
            self._sequence.extend(tokens, 0, lambda _, row: rows.append(row.astype(np.float64)))
        logits = np.array(rows)
        best = logits.max(axis=1, keepdims=True)
        return logits - best - np.log(np.exp(logits - best).sum(axis=1, keepdims=True))

    def reply(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": "the-only-one", "object": "model"}]}
        if path == "/v1/completions":
            return self._vllm(body)
        return self._sglang(body) if path == "/generate" else self._llama_cpp(body)

    def _vllm(self, body: dict[str, Any]) -> tuple[int, Any]:
        width, cap = body["logprobs"], self.behaviour.cap
        if cap is not None and width > cap:
            return 400, {"error": {"message": f"Requested sample logprobs of {width}, greater than max allowed: {cap}"}}
        if body["model"] != "the-only-one":
            return 404, {"error": {"message": "The model does not exist."}}
        rows = self.log_probabilities(body["prompt"])
        prompt: list[Any] = [None]
        for row, token in zip(rows, body["prompt"][1:], strict=False):
            told = dict.fromkeys([*_best(row, width), token])
            prompt.append(
                {str(each): {"logprob": float(row[each]), "rank": 1, "decoded_token": "?"} for each in told},
            )
        last = {f"token_id:{token}": float(rows[-1][token]) for token in _best(rows[-1], width)}
        choice = {
            "index": 0,
            "text": "?",
            "logprobs": {"top_logprobs": [last], "tokens": [next(iter(last))]},
            "prompt_logprobs": prompt if "prompt_logprobs" in body else None,
        }
        return 200, {"object": "text_completion", "choices": [choice]}

    def _sglang(self, body: dict[str, Any]) -> tuple[int, Any]:
        tokens, start, width = body["input_ids"], body["logprob_start_len"], body["top_logprobs_num"]
        rows = self.log_probabilities(tokens)
        own: list[Any] = [[None, tokens[start], None]]
        best: list[Any] = [None]
        for place in range(start + 1, len(tokens)):
            row = rows[place - 1]
            own.append([float(row[tokens[place]]), tokens[place], None])
            best.append([[float(row[token]), token, None] for token in _best(row, width)])
        last = [[float(rows[-1][token]), token, None] for token in _best(rows[-1], width)]
        said = {"input_token_logprobs": own, "input_top_logprobs": best, "output_top_logprobs": [last]}
        return 200, {"text": "?", "meta_info": said | {"output_token_logprobs": [last[0]]}}

    def _llama_cpp(self, body: dict[str, Any]) -> tuple[int, Any]:
        row = self.log_probabilities(body["prompt"])[-1]
        biased = row.copy()
        for token, bias in body.get("logit_bias", []):
            biased[token] += bias
        chosen = int(biased.argmax())
        if b"\xef\xbf\xbd" in self.model.pieces[chosen].decode("utf-8", "replace").encode():
            return 200, {"content": ""}  # until the letter ends
        told = [
            {"id": token, "token": "?", "bytes": [63], "logprob": float(row[token])}
            for token in _best(row, body["n_probs"])
        ]
        entry = {"id": chosen, "token": "?", "bytes": [63], "logprob": float(row[chosen]), "top_logprobs": told}
        return 200, {"content": "?", "completion_probabilities": [entry]}


def _best(row: Any, count: int) -> list[int]:
    order: list[int] = np.argsort(-row, kind="stable")[:count].tolist()
    return order


def _handler(server: ModelServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            behaviour = server.behaviour
            behaviour.asked.append((self.path, body))
            if behaviour.hang_up:
                return
            time.sleep(behaviour.wait)
            if behaviour.token is not None and self.headers.get("authorization") != f"Bearer {behaviour.token}":
                status, said = 401, {"error": "Unauthorized"}
            elif behaviour.status != 200:
                status, said = behaviour.status, {"error": "as told"}
            else:
                status, said = server.reply(self.path, body)
            data = behaviour.change(said)
            data = data if isinstance(data, bytes) else json.dumps(data).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
