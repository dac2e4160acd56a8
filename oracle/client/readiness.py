"""What a running node says of itself, asked over HTTP from the same machine."""

import json
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from oracle.errors import Refused, printable

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}
"""Where a node is reached that listens on these."""
PATIENCE_SECONDS = 3.0
MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Readiness:
    """What a node says of itself."""

    reasons: list[str]
    """Why it is not ready; nothing if it is."""
    warnings: list[str]


def readiness(host: str, port: int, token: str = "") -> Readiness:
    """Asks the node. Raises Refused if no node answers there, or not to us."""
    connection = HTTPConnection(ANYWHERE.get(host, host), port, timeout=PATIENCE_SECONDS)
    where = f"{host}:{port}"
    try:
        connection.request("GET", "/readyz", headers={"authorization": f"Bearer {token}"} if token else {})
        reply = connection.getresponse()
        found = json.loads(reply.read(MOST_BYTES))
        if reply.status not in (200, 503):
            raise Refused(f"{where} answers with HTTP status {reply.status}: is api_token the running node's?")
        reasons = [] if found["ready"] else found["reasons"]
        return Readiness(*([printable(str(each)) for each in said] for said in (reasons, found.get("warnings", []))))
    except OSError as error:
        raise Refused(f"no node answers at {where} ({error.strerror or error}); `didyma node run` starts it") from None
    except (HTTPException, ValueError, KeyError, TypeError, RecursionError):
        raise Refused(f"what answers at {where} is not a node: is api_port right?") from None
    finally:
        connection.close()
