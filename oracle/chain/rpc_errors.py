"""What the error messages of Ethereum clients mean: the one table.

Clients share no error codes for transactions, so their words are all there is. Patterns are anchored: at the start
of the message or after a ": ", for proxies and Erigon prefix theirs. A message that no pattern knows is OTHER, and
OTHER never changes what the journal holds: the transaction is simply sent again later.
"""

import re
from enum import Enum


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
