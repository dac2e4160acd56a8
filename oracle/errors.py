"""Every error that is expected, grouped by what the node's loop does about it. Only the loop catches.

OracleError     expected in normal operation; anything else is a bug and may crash
├─ Transient    try again next tick    RpcUnavailable, ReorgedAway, EngineCrashed, JobCancelled, JournalFull
├─ Refused      drop this job          UnknownModel, PromptTooLong, BadModelFile, ProofFailed, CallReverted
└─ Fatal        stop the node          WrongChain, ContractVersionMismatch, ConflictingAnswer, AlreadyRunning
"""

from collections.abc import Mapping
from typing import Any


class OracleError(Exception):
    """An error that normal operation can meet. The message says what to do."""


class Transient(OracleError):
    """Trying again later may succeed."""


class Refused(OracleError):
    """This job or input cannot succeed; others can."""


class Fatal(OracleError):
    """Going on could lose money: stop and let a person look."""


# TRANSIENT


class RpcUnavailable(Transient):
    """No endpoint answered, or its answer was unusable."""


class RpcRefused(RpcUnavailable):
    """An endpoint answered, and would not serve this call: it asks for too much, perhaps, or for what is forgotten."""


class Doubtful(RpcUnavailable):
    """What endpoints say contradicts what else is known; nothing is believed before it is settled."""


class ReorgedAway(Transient):
    """The block a job rests on left the chain."""


class EngineCrashed(Transient):
    """The engine's worker process died or exceeded its time."""


class EngineServerFailed(EngineCrashed):
    """The server that an engine asks does not answer, or not with what was asked."""


class JobCancelled(Transient):
    """Nobody wants this job's result any more, or it took longer than it may."""


class FleetUnavailable(Transient):
    """The database between a node and its fleet cannot be used now."""


class NotLeading(Transient):
    """Another daemon with the same key may sign now."""


class NotServed(Transient):
    """No engine of this service works now."""


class JournalFull(Transient):
    """The disk under the journal is full: nothing may be signed that cannot be written down first."""


class SignerFailed(Transient):
    """The signer did not answer, or signed something else than asked."""


class DownloadFailed(Transient):
    """A download broke off or was refused; what arrived is kept where it can be resumed."""


class DiskFull(Transient):
    """There is no room for a model file."""


class EvidenceUnavailable(Transient):
    """Evidence of a TEE, or the documents behind it, is not available now."""


class SourceUnavailable(EvidenceUnavailable):
    """Nobody answered with documents; those on chain stay valid for a while."""


class TeeBusy(EvidenceUnavailable):
    """Others kept writing to the same report."""


# REFUSED: MODELS AND ENGINES


class UnknownModel(Refused):
    """The node has no local file for this model id, or its operator has not allowed it."""


class BadModelFile(Refused):
    """A model file is malformed, unsupported, or not the file its manifest names."""


class WrongNumbers(Refused):
    """This device does not compute what the exact engine's specification says; nothing it computes may be signed."""


class ProofFailed(Refused):
    """A loaded model does not answer its known question; nothing it computes may be signed."""


class BadProof(Refused):
    """What was shown of an answer's prompt is not a proof: it proves nothing, right or wrong."""


class WrongCommitments(Refused):
    """A manifest commits to other numbers than its file holds: honest answers for it would lose their bonds."""


class BadManifest(Refused):
    """A manifest is malformed, or one that the registry would refuse."""


class PromptTooLong(Refused):
    """Prompt and answer do not fit the model's context."""


class BadType(Refused):
    """A type of answers that nothing can answer but an empty output: the message says which rule it breaks."""


class NotOfType(Refused):
    """An answer that is not of the form that was asked for: the model's tokens ran out, or it answered another type."""


class JobQuarantined(Refused):
    """This job killed the engine's worker twice; it is not tried again."""


class SelfCheckFailed(Refused):
    """The engine rejected its own answer."""


class NotEnoughMemory(Refused):
    """The guest has no memory for a copy of the model."""


# REFUSED: CHAIN


class BadArgument(Refused):
    """What a caller of the client gave cannot be told to any contract: a malformed id or address, a number out of
    range. The chain was not asked."""

    def __init__(self, argument: str, what: str) -> None:
        """argument: its name, as the contracts have it. what: it is or must be."""
        super().__init__(f"{argument} {what}")
        self.argument = argument


class CallReverted(Refused):
    """A contract refused a simulated call."""

    def __init__(
        self, message: str, data: bytes = b"", name: str = "", arguments: Mapping[str, Any] | None = None
    ) -> None:
        """data: what it reverted with, a selector and arguments, or empty. name, arguments: of the custom error, by
        the contract's ABI; empty for one that no contract of this package knows."""
        super().__init__(message)
        self.data = data
        self.name = name
        self.arguments = arguments or {}


class UnknownHeader(Refused):
    """A block's fields do not hash to its hash: a chain whose headers have another layout."""


# REFUSED: TEES


class NoTee(Refused):
    """This machine is no trust domain, or its kernel does not say so."""


class GpuRefused(Refused):
    """A GPU is not sealed, or it cannot be found out. The message names the GPU and the claim."""


class BadQuote(Refused):
    """Bytes that are no quote of a kind that is understood."""


class EvidenceRefused(Refused):
    """Evidence that is not sound, or not acceptable under the policy; the message says which."""


class NoTcbLevel(Refused):
    """A part that is older than all that Intel has judged, or of a version that Intel has not judged."""


class CollateralRefused(Refused):
    """Documents that must not be posted; the message says why."""


class NotTrusted(Refused):
    """A key whose evidence is not about it, or about other code than is trusted, or cannot be found."""


# REFUSED: PRIVATE PROMPTS


class PromptNotTaken(Refused):
    """A private prompt that this node does not keep for a request; the message says why."""


class NotPrivate(PromptNotTaken):
    """Bytes that are no private prompt, or one cut short."""


class NotForThisKey(PromptNotTaken):
    """A private prompt for others, or sealed for another chain, oracle, requester or model than the request's."""


class NobodyAsked(PromptNotTaken):
    """No open request that this node knows names these bytes: they came too early, too late, or are others."""


class MailboxFull(PromptNotTaken):
    """Too many prompts wait."""


class Unreadable(Refused):
    """What was sealed was changed, or contradicts its request or its own format."""


class Unsealable(Refused):
    """Nothing can be sealed like this: the message says which key, recipient, parameter or prompt is at fault."""


# FATAL


class WrongChain(Fatal):
    """An endpoint serves another chain than the configured one."""


class BadSettings(Fatal):
    """A setting is unknown, missing or makes no sense."""


class UnmeasuredServer(Fatal):
    """An engine behind a server, in a TEE: the measurement would say nothing of what computes."""


class BadDeployment(Fatal):
    """The deployment file is missing or is not one."""


class ContractVersionMismatch(Fatal):
    """The contract at the configured address is not the one this node was built for."""


class BadRecord(Fatal):
    """What a fleet's database tells of this key's transactions cannot be right, or does not fit this journal."""


class ConflictingAnswer(Fatal):
    """The journal already holds another signed answer for this request and turn."""


class FinalityViolated(Fatal):
    """Two endpoints disagree on a block that was taken as final, or a final block left the chain."""


class ForeignTransaction(Fatal):
    """Another wallet used this node's key: its nonce moved without the journal."""


class JournalCorrupt(Fatal):
    """The journal's file is damaged; it can be rebuilt from the chain."""


class JournalTooNew(Fatal):
    """A newer version of this program wrote the journal."""


class AlreadyRunning(Fatal):
    """Another process holds the lock on this journal or this key."""


class InsecureKeyFile(Fatal):
    """A keystore or password file is unreadable, malformed, or others may read it."""


# OF CLIENTS


class TransactionFailed(OracleError):
    """A transaction was mined but reverted."""


def printable(text: str) -> str:
    """`text` with control characters as escapes: errors and names may quote strangers."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
