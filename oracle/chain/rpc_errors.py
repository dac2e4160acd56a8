"""What the error messages of Ethereum clients mean: the one table. And how an endpoint's trouble is told.

Clients share no error codes for transactions, so their words are all there is. Patterns are anchored: at the start
of the message or after a ": ", because proxies and Erigon prefix theirs. A message that no pattern knows is OTHER, and
OTHER never changes what the journal holds: the transaction is simply sent again later.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from oracle.chain.types import parse_bytes
from oracle.errors import printable

MOST_WORDS = 200
"""Characters that are quoted of what an endpoint says."""
MOST_REFUSAL_BYTES = 16_384
"""Looked at of a reply that is no answer."""
MOST_REPLY_BYTES = 64 << 20
"""Taken of any reply. Endpoints limit logs, the longest of them, to less."""
LOCAL = ("127.0.0.1", "localhost", "::1", "0.0.0.0")


class SendOutcome(Enum):
    """What an endpoint said about a raw transaction."""

    ACCEPTED = "accepted"
    KNOWN = "already known"
    NONCE_TOO_LOW = "nonce too low"
    """The nonce is used: look for a receipt."""
    NONCE_TOO_HIGH = "nonce too high"
    UNDERPRICED = "replacement underpriced"
    """Another transaction with this nonce is in the pool and pays nearly as much or more."""
    FEE_TOO_LOW = "fee too low"
    INSUFFICIENT_FUNDS = "insufficient funds"
    POOL_FULL = "pool full"
    GAS_LIMIT = "gas limit"
    """Gas above the block's or the transaction cap (EIP-7825), or below the intrinsic cost."""
    WRONG_CHAIN = "wrong chain id"
    OTHER = "other"
    UNREACHABLE = "unreachable"
    """No endpoint replied; the transaction may have arrived all the same."""


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile(r"(?:^|: )(?:" + "|".join(patterns) + ")", re.IGNORECASE)


# Sources, in order of the words in each pattern: geth core/error.go, core/txpool/errors.go; reth and anvil (alloy);
# Nethermind AcceptTxResult.cs; Erigon txpoolcfg.go; Nitro arbos and sequencer; Besu TransactionInvalidReason.
_SEND = (
    (
        SendOutcome.KNOWN,
        _any(
            r"already known",
            r"known transaction",
            r"transaction already imported",
            r"alreadyknown",
            r"existing tx with same hash",
            r"already_exists",
        ),
    ),
    (
        SendOutcome.UNDERPRICED,
        _any(
            r"replacement transaction underpriced",
            r"replacementnotallowed",
            r"could not replace existing tx",
            r"transaction already exists with the same nonce",
            r"replacement fee too low",
        ),
    ),
    (
        SendOutcome.NONCE_TOO_LOW,
        _any(r"nonce too low", r"oldnonce", r"nonce is too low", r"invalid transaction nonce", r"nonce below current"),
    ),
    (
        SendOutcome.NONCE_TOO_HIGH,
        _any(r"nonce too high", r"noncegap", r"noncetoofarinfuture", r"nonce too distant", r"gapped-nonce tx"),
    ),
    (
        SendOutcome.FEE_TOO_LOW,
        _any(
            r"max fee per gas less than block base fee",
            r"transaction underpriced",
            r"underpriced",
            r"feetoolow",
            r"fee too low",
            r"gas price too low",
            r"gas price below",
            r"transaction gas price below",
            r"max fee per gas is less than",
        ),
    ),
    (
        SendOutcome.INSUFFICIENT_FUNDS,
        _any(
            r"insufficient funds",
            r"insufficientfunds",
            r"not enough funds",
            r"insufficient balance",
            r"upfront cost exceeds account balance",
            r"insufficient sender balance",
        ),
    ),
    (
        SendOutcome.POOL_FULL,
        _any(
            r"txpool is full",
            r"transaction pool is full",
            r"account limit exceeded",
            r"queue full",
            r"sequencer pending tx pool full",
            r"(?:pending|basefee|queued) sub-pool is full",
            r"in-flight transaction limit reached",
            r"spammer",
        ),
    ),
    (
        SendOutcome.GAS_LIMIT,
        _any(
            r"exceeds block gas limit",
            r"transaction gas limit",
            r"gas limit",
            r"gaslimitexceeded",
            r"intrinsic gas too (?:low|high)",
            r"intrinsic gas exceeds",
            r"floor data gas",
        ),
    ),
    (
        SendOutcome.WRONG_CHAIN,
        _any(r"invalid chain ?id", r"invalid sender", r"chain ?id", r"wrong chain ?id", r"only replay-protected"),
    ),
)

# An endpoint that does not have a block: it lags, has pruned its state, or the block has left the chain.
_MISSING_BLOCK = _any(
    r"unknown block",
    r"header not found",
    r"block not found",
    r"resource not found",
    r"header for hash not found",
    r"blockoutofrangeerror",
    r"block range extends beyond",
    r"one of the blocks specified",
    r"missing trie node",
    r"state .*not available",
    r"historical state",
    r"required historical state",
    r"no state found",
    r"pruned",
    r"cannot find block",
    r"could not find block",
    r"hash .*is not currently canonical",
    r"requested .*not available",
)

_REVERTED = _any(r"execution reverted", r"vm execution error", r"reverted", r"transaction reverted", r"vm exception")

# Execution that failed without a revert: the same verdict for a simulation.
_FAILED = _any(
    r"out of gas",
    r"invalid opcode",
    r"stack (?:under|over)flow",
    r"gas required exceeds",
    r"evm error",
    r"intrinsic gas too low",
    r"invalid jump",
    r"write protection",
    r"max code size",
)


def classify_send(message: str) -> SendOutcome:
    """The meaning of an eth_sendRawTransaction error."""
    text = message.strip()
    return next((outcome for outcome, pattern in _SEND if pattern.search(text)), SendOutcome.OTHER)


def is_missing_block(code: int, message: str) -> bool:
    """Whether an error says that the endpoint does not have the block, or not its state. -32001: EIP-1474."""
    return code == -32001 or _MISSING_BLOCK.search(message.strip()) is not None


def is_revert(code: int, message: str) -> bool:
    """Whether an eth_call or eth_estimateGas error is the contract's verdict, not the endpoint's trouble. 3: geth."""
    text = message.strip()
    return code == 3 or _REVERTED.search(text) is not None or _FAILED.search(text) is not None


# What to do, by the kind of trouble; the last fits all others.
_ADVICE = (
    (r"http 429|error -32005", "it limits requests: wait a little, or use another endpoint"),
    (r"http 40[13]", "it wants a credential, or refuses the one in the URL"),
    (r"http 3\d\d", "it sends callers on to another URL: name that one"),
    (r"http 404", "the URL's path is wrong, or its credential has ended"),
    (r"http 5\d\d", "the endpoint itself is in trouble: try again, or use another one"),
    (r"error -3260[12]", "it does not serve this call as we make it: use an endpoint without such limits"),
    (r"too long", "ask it for less, or use another endpoint"),
    (r"timeout", "something listens there but says nothing: check host and port, or use another endpoint"),
    (r"connection", "check that the node runs and the URL is right"),
    (r"proxy", "check HTTPS_PROXY and its like in the environment, or name the endpoint's host in NO_PROXY"),
    (r"bad url", "an endpoint is named as http://HOST:PORT or https://HOST/PATH"),
    (r"not json.*|malformed|http \d+", "what answers there is not an Ethereum node: check the URL"),
    (r".*", "try again, or use another endpoint"),
)
# Providers: Alchemy, Infura, QuickNode, Ankr, public nodes. -32005 stands for either.
_LIMITS = re.compile(
    r"rate.?limit|too many requests|requests? (?:limit|per)|per second|throughput|capacity|quota|slow down"
    r"|credits|daily|limit exceeded|request limit|compute units",
    re.IGNORECASE,
)
_TOO_MUCH = re.compile(
    r"block range|range of blocks|results|too many (?:logs|blocks)|response size|blocks? (?:limit|distance)"
    r"|query (?:timeout|returned|exceeds)|exceeds? (?:the )?(?:max(?:imum)?|limit of) .*block",
    re.IGNORECASE,
)
_NO_METHOD = re.compile(r"not (?:supported|available|found|allowed|exist)|unsupported|whitelisted", re.IGNORECASE)
_HAPPENED = {
    "timeout": "no reply in time",
    "connection": "no connection, or it broke",
    "proxy": "no way through the proxy",
    "bad url": "not a URL",
    "not json": "a reply that is not JSON",
    "not json-rpc": "a reply that is not JSON-RPC",
    "malformed": "a reply that makes no sense",
    "incomplete": "incomplete replies",
    "too long": f"a reply of more than {MOST_REPLY_BYTES >> 20} MiB",
}
_SEND_ADVICE = {
    SendOutcome.INSUFFICIENT_FUNDS: "send the account ether for the amount and for gas",
    SendOutcome.NONCE_TOO_LOW: "another transaction of this key came first: run the command again",
    SendOutcome.NONCE_TOO_HIGH: "an earlier transaction of this key is missing: wait until it is mined, then try again",
    SendOutcome.UNDERPRICED: "another transaction of this key is waiting: wait until it is mined, then try again",
    SendOutcome.FEE_TOO_LOW: "the price of gas has risen: run the command again",
    SendOutcome.KNOWN: "it was sent already: wait until it is mined",
    SendOutcome.WRONG_CHAIN: "the deployment is on another chain than the endpoint",
}


@dataclass(frozen=True)
class Trouble:
    """What an endpoint did instead of answering. The endpoint's URL is not in it."""

    method: str
    kind: str
    """timeout, connection, proxy, bad url, too long, http 429, error -32602, not json, not json-rpc, malformed."""
    words: str = ""
    """The endpoint's own, as `quoted`."""
    wait_seconds: int = 0
    """For how long it asks to be left alone."""

    def __str__(self) -> str:
        happened = _HAPPENED.get(self.kind, self.kind.replace("http", "HTTP status"))
        return f"{self.method}: {happened}" + (f', "{self.words}"' if self.words else "")

    @property
    def limits(self) -> bool:
        """Whether the endpoint wants fewer requests, not smaller ones."""
        if self.kind == "http 429":
            return True
        return self.kind.startswith(("error", "http")) and not self._too_much and _LIMITS.search(self.words) is not None

    @property
    def refuses(self) -> bool:
        """Whether the endpoint answered and would not serve the call: a smaller one it might."""
        if self.kind == "timeout":
            return self.method == "eth_getLogs"
        return not self.limits and re.fullmatch(r"error .*|too long|http (400|413|422|5\d\d)", self.kind) is not None

    @property
    def lacks_method(self) -> bool:
        """Whether the endpoint does not know the method, or not in this form."""
        if re.fullmatch(r"error -3260[0-3]|error -32004|http (404|405|501)", self.kind):
            return True
        return self.kind.startswith("error") and _NO_METHOD.search(self.words) is not None

    @property
    def _too_much(self) -> bool:
        return _TOO_MUCH.search(self.words) is not None

    @property
    def advice(self) -> str:
        """What a person may do about it."""
        sent = _SEND_ADVICE.get(classify_send(self.words)) if self.kind.startswith("error") else None
        return sent or next(advice for pattern, advice in _ADVICE if re.fullmatch(pattern, self.kind))


class Fault(Exception):
    """An endpoint's trouble, on its way to whoever asks another endpoint or gives up."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble


def refusal_of(body: bytes) -> str:
    """What the body of an HTTP error says: the message of a JSON-RPC error, or a page's text."""
    text = body[:MOST_REFUSAL_BYTES].decode("utf-8", "replace")
    try:
        reply = json.loads(text)
    except (ValueError, RecursionError):
        return re.sub(r"<(script|style)\b.*?</\1>|<[^<>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    error = reply.get("error", reply.get("message")) if isinstance(reply, Mapping) else reply
    if isinstance(error, Mapping):
        return f"{error.get('code', '')} {error.get('message', '')}".strip()
    return str(error)


def revert_data(value: Any) -> bytes:
    """Revert bytes as geth, reth, anvil ("0x..."), Nethermind ("Reverted 0x...") and old nodes ({...}) report them."""
    if isinstance(value, Mapping):
        value = value.get("data")
    try:
        return parse_bytes(str(value).removeprefix("Reverted ").strip())
    except ValueError:
        return b""


def quoted(words: str, url: str) -> str:
    """An endpoint's words, fit to be shown: short, printable, on one line, without its URL or a credential in it."""
    for secret in sorted(_secrets(url), key=len, reverse=True):
        words = re.sub(re.escape(secret), "[...]", words, flags=re.IGNORECASE)
    words = printable(" ".join(words.split()))
    return words if len(words) <= MOST_WORDS else words[: MOST_WORDS - 3] + "..."


def is_local(url: str) -> bool:
    """Whether the endpoint is on this machine."""
    try:
        return urlsplit(url).hostname in LOCAL
    except ValueError:
        return False


def _secrets(url: str) -> Iterator[str]:
    """What may not be shown of a URL: all of it, its host, and whatever in it could be a credential."""
    try:
        parts = urlsplit(url)
        host, user, password = parts.hostname or "", parts.username or "", parts.password or ""
    except ValueError:
        yield url
        return
    pieces = [*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query)), parts.query, parts.fragment]
    named = [user, password, *(piece for piece in pieces if len(piece) >= 6)]
    if host not in LOCAL:
        named += [host, *(part for part in host.split(".") if len(part) >= 10)]
    if user or password:
        named.append(base64.b64encode(unquote(f"{user}:{password}").encode()).decode())
    for secret in (url, parts.netloc, *named):
        for form in {secret, unquote(secret)}:
            if len(form) >= 3:
                yield form
