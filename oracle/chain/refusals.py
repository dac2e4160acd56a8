"""What the contracts refuse with: the custom error's name, its arguments, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from web3.exceptions import ContractLogicError

from oracle.chain.bindings import Binding
from oracle.chain.deployment import artifact, artifact_names
from oracle.chain.rpc_errors import revert_data
from oracle.chain.units import NOBODY
from oracle.errors import CallReverted, printable

ADVICE = {
    # asking
    "EmptyPrompt": "ask something",
    "PromptTooLong": "shorten the prompt; `didyma service show` has the longest in bytes",
    "TokensOutOfRange": "ask for fewer tokens; `didyma service show` has the most",
    "WrongFee": "send exactly what `quote` says for this prompt and these parameters, in the same block's prices",
    "DeadlineOutOfRange": "choose a deadline between the two, as Unix time in seconds",
    "CallbackTargetWithoutCode": "name a contract to call back, or none",
    "CallbackGasTooHigh": "buy less gas for the callback",
    "NotEnoughOwners": "wait until more nodes have joined the service, or ask another one",
    "DuplicateRequest": "the same was asked in this block already: choose another deadline",
    "PrivateNeedsAttestation": "ask without --private, or ask a service that has an attester",
    "UnknownService": "`didyma service list` shows all services",
    # requests
    "WrongStatus": "`didyma request show` tells how far the request is; status 0 means that there is no such request",
    "DeadlinePassed": "it is too late for this: the payer may have the fee refunded",
    "DeadlineNotPassed": "wait until the deadline has passed",
    "NotPayer": "only the account that paid for the request may do this",
    "NothingToFinalize": "wait until the challenge window has closed",
    "CallbackReverted": "the contract that is called back refuses; mend it, then try again",
    "RetryClosed": "it is too late: the callback can no longer be tried or left",
    "RetryOpen": "somebody may still deliver the callback; wait until then (Unix time)",
    "NothingToReclaim": "no callback was left, or its price is gone",
    "NotAnswerer": "only the operator that gave the answer may leave its callback",
    "InsufficientGas": "send the transaction with more gas",
    "WindowClosed": "the challenge window is over",
    # services
    "ServiceExists": "a service with the very same terms exists: use it, or change a term",
    "UnknownModel": "register the model first: `didyma model register`",
    "TurnTooShort": "raise `turn_seconds`: the first turn must reach the block that can hold an answer",
    "WindowOutOfRange": "change `window_seconds`",
    "LifetimeOutOfRange": "change `lifetime_seconds` or `turn_seconds`: from one turn to 32, a day at most",
    "NoBond": "set `bond_wei`",
    "SeatBelowBond": "raise `seat_wei` to `bond_wei` at least",
    "NoRoom": "set `max_prompt_bytes` and `max_tokens`",
    "NoOwners": "set `min_owners` to one at least",
    "EvenPanel": "choose an odd `panel_size`",
    "PanelTooLarge": "choose a `panel_size` of 63 at most",
    "NoVoteFee": "set `vote_fee_wei`",
    "NoAbsencePenalty": "set `absence_penalty_wei`",
    "TooFewOwners": "raise `min_owners` to `panel_size` and two more",
    "VotingOutOfRange": "change `commit_seconds` or `reveal_seconds`",
    "BondTooSmall": "raise `bond_wei`, or lower `vote_fee_wei`",
    "SeatTooSmall": "raise `seat_wei` to a bond and an absence",
    "PromptMayNotFit": "lower `max_prompt_bytes`: `didyma service create` says the largest that fits",
    "MovesTooShort": "change the terms of the game: moves must last, the first no shorter than others",
    "ClockOutOfRange": "change `clock_seconds`: a prefill, the queue's share and every move must fit",
    "QueueTooShort": "raise `queue_seconds` to twice what a node needs for the openings of a game",
    "CeilingOutOfRange": "choose `ceiling_percent` from 100 to 200",
    "OpeningsUnpaid": "set `opening_wei` above what an opening costs a node",
    "ChallengeBondTooSmall": "raise `challenge_bond_wei`, or lower `opening_wei`",
    "RewardTooSmall": "raise `bond_wei`, or lower `challenge_bond_wei`",
    "ChallengeUnderpaid": "send at least the price; what is too much becomes credit",
    "BadPolicy": "change the policy as the reason says",
    # seats
    "ServiceFull": "join another service, or wait until a seat is given up",
    "NotSeatOwner": "use the key of the seat's owner; `didyma service show` names it",
    "WrongSeatStatus": "`didyma service show` tells the seat's state",
    "DepositTooSmall": "send at least as much as the error says",
    "SeatBalanceTooLarge": "a seat holds less than 2^72 wei: send less",
    "SeatBusy": "wait until an open answer of the seat is final",
    "NotDrained": "the seat can cover a bond, or gets one back",
    "NotReadyYet": "wait until then (Unix time), and run the command again",
    "SeatLocked": "wait until the seat's open answers and disputes are settled",
    "InsufficientSeatBalance": "`didyma seat top-up` adds to the seat's balance",
    "InsufficientCredit": "withdraw no more than the account's credit",
    "TransferFailed": "the receiver refuses ether; withdraw to another address",
    # models
    "AlreadyRegistered": "nothing to do: the model is registered",
    "IncompleteManifest": "the manifest names no file, no context or no stop token; make it with `didyma model add`",
    "NoRoomForPrompt": "choose another file: the context must hold the template, a prompt and an answer",
    "NotRegistered": "register the model first: `didyma model register`",
    "NotExact": "the model has no commitments; make them with `didyma model register`",
    "TooManyStops": "make a manifest with fewer stop tokens: `didyma model add --stop`",
    "NotEnrolled": "let the referee know the model: `didyma model register`",
    "AlreadyEnrolled": "nothing to do: the referee knows the model",
    "UnknownFamily": "the referee cannot judge this model; use a panel",
    "LayersOutOfRange": "the referee cannot judge this model; use a panel",
    "NoWidth": "the referee cannot judge this model; use a panel",
    "HeadsUnequal": "the referee cannot judge this model; use a panel",
    "RopeOutOfRange": "the referee cannot judge this model; use a panel",
    "NoEpsilon": "the referee cannot judge this model; use a panel",
    "ContextTooLong": "the referee cannot judge this model; use a panel",
    "WrongKinds": "the referee cannot judge this model; use a panel",
    "RowTooLong": "the referee cannot judge this model; use a panel",
    # keys and evidence
    "NotGuardian": "only the service's guardian may; `didyma tee status` names it",
    "OnlyShrinks": "caps can only be lowered, and the least TCB evaluation only raised",
    "KeyNotActive": "the key has ended: its node registers a new one when it starts",
    "KeyIsRevoked": "the key has ended for ever: its node makes another when it starts",
    "NotNode": "only the node that registered the key may",
    "WrongModel": "the key is for another model or engine than the service's",
    "UnknownMeasurement": "the policy does not believe this build; `didyma tee status` shows which it does",
    "EvaluationTooOld": "the service takes newer TCB evaluations alone: its node registers the key again under one",
    "UnacceptablePlatform": "the machine is not up to date enough for this policy: update its firmware",
    "NotAdmitted": "have the key admitted: `didyma tee admit`",
    # Intel's documents
    "AlreadyPosted": "nothing to do: it stands on the chain",
    "NotNewer": "nothing to do: what stands on the chain is as new",
    "CrlMissing": "post the documents first: `didyma tee collateral --post`",
    "TcbInfoMissing": "post the documents first: `didyma tee collateral --post`",
    "QeIdentityMissing": "post the documents first: `didyma tee collateral --post`",
    "AlreadyRead": "nothing to do: that part of the list was read before",
    "OutsideValidity": "fetch documents that are valid now",
    "DocumentOutsideValidity": "fetch documents that are valid now",
    "Revoked": "the vendor has revoked it: another machine is needed",
}
"""By an error's name. Errors that only moves of disputes cause have none: no command sends these."""


@dataclass(frozen=True)
class Refusal:
    """A custom error of one of the contracts."""

    name: str
    args: Mapping[str, Any]
    text: str
    """`WrongFee(expectedWei=7, givenWei=6)`"""

    @property
    def advice(self) -> str:
        """What to do; empty where nothing helps but to ask for something else."""
        return ADVICE.get(self.name, "")

    def __str__(self) -> str:
        return f"the contract refuses: {printable(self.text)}" + (f"; {self.advice}" if self.advice else "")


def read(data: bytes) -> Refusal | None:
    """What a call reverted with; None if none of our contracts knows it."""
    for binding in _bindings():
        found = binding.error(data)
        if found is not None:
            return Refusal(found[0], found[1], binding.explain(data))
    return None


def explain(data: bytes, said: str = "") -> str:
    """A revert in one line. said: by the endpoint, for reverts without data."""
    refusal = read(data)
    if refusal is not None:
        return str(refusal)
    if data:
        return (
            f"the contract refuses for a reason that this version does not know ({len(data)} bytes, selector "
            f"{data[:4].hex()}): is the deployment file this chain's, and of this version?"
        )
    reason = f" ({printable(said[:200])})" if said else ""
    return f"the contract refuses without a reason{reason}: is the deployment file this chain's?"


def refused(data: bytes, said: str = "") -> CallReverted:
    """A revert as an error in words, with the custom error's name and arguments. said: by the endpoint."""
    found, message = read(data), explain(data, said)
    return CallReverted(message, data) if found is None else CallReverted(message, data, found.name, found.args)


def reverted(error: ContractLogicError) -> CallReverted:
    """web3's error as one of ours, for a Web3 that `connect` did not make."""
    return refused(revert_data(error.data), str(error.message or ""))


@cache
def _bindings() -> tuple[Binding, ...]:
    return tuple(Binding(artifact(name)["abi"], NOBODY) for name in artifact_names())
