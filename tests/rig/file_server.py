"""A web server on loopback that serves one file well or badly, on cue, and remembers what it was asked."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    body: bytes
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    """Whether Range is honoured."""
    cut_after: list[int] = field(default_factory=list)
    """For each request in turn: how many bytes to send before the connection drops."""
    announce: int | None = None
    """Content-Length, if not the true one."""
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """(method, path, headers in lower case) of every request."""

    def ranges_asked(self) -> list[str | None]:
        return [headers.get("range") for method, _, headers in self.seen if method == "GET"]


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what many of these tests are about."""


class FileServer:
    def __init__(self, behaviour: Behaviour) -> None:
        self._server = _Quiet(("127.0.0.1", 0), _handler(behaviour))
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(behaviour: Behaviour) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(lambda body: None)

        def do_GET(self) -> None:
            def send(body: bytes) -> None:
                cut = behaviour.cut_after.pop(0) if behaviour.cut_after else len(body)
                self.wfile.write(body[:cut])
                self.close_connection |= cut < len(body)

            self._answer(send)

        def _answer(self, send: Callable[[bytes], None]) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            behaviour.seen.append((self.command, self.path, headers))
            status, start = behaviour.status or 200, 0
            if behaviour.ranges and behaviour.status is None and "range" in headers:
                start = int(headers["range"].removeprefix("bytes=").rstrip("-"))
                status = 206 if start < len(behaviour.body) else 416
            body = behaviour.body[start:]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if behaviour.announce is None else behaviour.announce))
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{len(behaviour.body) - 1}/{len(behaviour.body)}")
            for name, value in behaviour.headers.items():
                self.send_header(name, value)
            self.end_headers()
            send(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
