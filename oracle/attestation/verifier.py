"""What evidence is worth off chain, and why: `DcapVerifier` and the policy of `AttestedAnswers` in Python.

Signatures, chains of certificates and revocation lists are checked by `dcap-qvl`. It is laxer than the contract about
some fields and takes no number of a TCB evaluation, so what the contract asks beyond it is asked here, and the TCB
levels are judged by `tcb`. A test compares all three on generated and changed quotes.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dcap_qvl  # type: ignore[import-untyped]
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from oracle.attestation import tcb
from oracle.attestation.collateral import Collateral
from oracle.attestation.quote import Quote
from oracle.attestation.tcb import Flag, Level
from oracle.errors import EvidenceRefused, NoTcbLevel

DAY = 86_400
TD_ATTRIBUTES = bytes.fromhex("0000001000000000")
"""SEPT_VE_DISABLE and nothing else."""
INITIALISED, DEBUG = 1, 2
"""Attributes of an enclave, in their first byte."""


@dataclass(frozen=True)
class Policy:
    """Which sound platforms to accept besides those that are up to date; words as in a service's `[attested]`."""

    accepts_configuration: bool = False
    grace_seconds: int = 0
    """For platforms that fell behind, from when the evaluation that says so first stood on chain."""
    advisories: tuple[int, ...] = ()
    """Numbers of those that the measured code mitigates."""
    least_evaluation: int = 0
    """Number of the oldest TCB evaluation to accept."""


@dataclass(frozen=True)
class Verdict:
    """On sound evidence."""

    level: Level
    evaluation: int
    """Number of the TCB evaluation that judged."""
    issued_at: int
    expires_at: int
    """Unix seconds: of the newest document behind the verdict, and of the first that ends."""


def verify(quote: Quote, collateral: Collateral, now: int, root: x509.Certificate | None = None) -> Verdict:
    """What the vendor says of the platform; sound is not acceptable.

    now: Unix seconds. root: of the vendor; None for Intel's. Raises EvidenceRefused, BadQuote.
    """
    _check_form(quote)
    documents = dcap_qvl.QuoteCollateralV3(**vars(collateral))
    verifier = dcap_qvl.QuoteVerifier(None if root is None else root.public_bytes(Encoding.DER))
    try:
        claims = json.loads(
            verifier.verify_with_policy(quote.raw, documents, now, dcap_qvl.QuotePolicy.claims_only(now)).to_json()
        )
        tcb_info, identity = json.loads(collateral.tcb_info), json.loads(collateral.qe_identity)
        evaluation = collateral.evaluation
        since, until = _validity(collateral)
    except ValueError as error:
        raise EvidenceRefused(" ".join(str(error).split())) from error
    platform = claims["platform"]["pck"]
    if bytes.fromhex(tcb_info["pceId"]) != bytes(platform["pce_id"]):
        raise EvidenceRefused("the TCB info is about another PCE than the quote's platform has")
    if not since <= now < until:
        raise EvidenceRefused(f"the documents are valid from {since} to {until}, not at {now}")
    parts = tcb.Parts(
        cpu_svn=bytes(platform["cpu_svn"]),
        pce_svn=platform["pce_svn"],
        qe_svn=claims["qe"]["report"]["isv_svn"],
        modules=quote.module_svns,
    )
    try:
        level = tcb.judge(tcb_info, identity, parts)
    except NoTcbLevel as error:
        raise EvidenceRefused(str(error)) from error
    if level.flags & Flag.REVOKED:
        raise EvidenceRefused("the platform's TCB level is revoked")
    expires_at = min(until, claims["earliest_expiration_date"])
    return Verdict(level, evaluation, claims["latest_issue_date"], expires_at)


def judge(
    quote: Quote,
    collateral: Collateral,
    now: int,
    policy: Policy,
    root: x509.Certificate | None = None,
    since: int | None = None,
) -> Verdict:
    """As `verify`, and acceptable under the policy.

    since: Unix seconds at which the collateral's evaluation first stood on chain (`evaluationSince`); None if that is
    not known, and then no grace is given.
    """
    verdict = verify(quote, collateral, now, root)
    if (reason := objection(verdict, now, policy, since)) is not None:
        raise EvidenceRefused(reason)
    return verdict


def objection(verdict: Verdict, now: int, policy: Policy, since: int | None = None) -> str | None:
    """Why a policy does not accept a verdict: as `AttestedAnswers.admit`. Arguments as of `judge`."""
    level = verdict.level
    if verdict.evaluation < policy.least_evaluation:
        return f"judged by TCB evaluation {verdict.evaluation}; the least that counts is {policy.least_evaluation}"
    if level.flags & Flag.CONFIGURATION_NEEDED and not policy.accepts_configuration:
        return f"{level.status} is not acceptable: safe only in a configuration that no quote shows"
    if level.flags & Flag.OUT_OF_DATE and (since is None or now >= since + policy.grace_seconds):
        known = f"since {since}" if since is not None else "since nobody said when (--since)"
        return f"{level.status} is not acceptable: {known}, with a grace of {policy.grace_seconds} seconds"
    if level.flags & Flag.SW_HARDENING_NEEDED:
        unmitigated = sorted(level.advisories - set(policy.advisories))
        if level.is_unlistable or unmitigated:
            open_to = ", ".join(f"INTEL-SA-{number:05}" for number in unmitigated) or "what no policy can list"
            return f"{level.status} is not acceptable: open to {open_to}"
    return None


def _check_form(quote: Quote) -> None:
    """What the contract asks of the parts of a quote, beyond what the library does. Raises EvidenceRefused."""
    body = quote.body
    checks = [
        (not any(quote.qe_report[352:384]), "the quoting enclave's report data say more than the key's hash"),
        (not any(quote.qe_report[16:20]), "the quoting enclave selects miscellaneous features"),
        (not quote.qe_report[48] & DEBUG, "the quoting enclave is debuggable"),
    ]
    if quote.version == 3:
        checks.append((bool(body[48] & INITIALISED), "the enclave is not initialised"))
        checks.append((not body[48] & DEBUG, "the enclave is debuggable"))
    else:
        told = f"the domain's attributes are 0x{body[120:128].hex()}, not 0x{TD_ATTRIBUTES.hex()}"
        checks.append((body[120:128] == TD_ATTRIBUTES, told))
        checks.append((not any(body[64:120]), "the TDX module is not Intel's"))
        checks.append((not any(body[600:648]), "the domain may be migrated"))
    for is_right, what in checks:
        if not is_right:
            raise EvidenceRefused(what)


def _validity(collateral: Collateral) -> tuple[int, int]:
    """From when and until when all four documents are valid, in Unix seconds. Raises ValueError."""
    since, until = [], []
    for der in (collateral.root_ca_crl, collateral.pck_crl):
        crl = x509.load_der_x509_crl(der)
        if crl.next_update_utc is None:
            raise ValueError("a revocation list without an end")
        since.append(int(crl.last_update_utc.timestamp()))
        until.append(int(crl.next_update_utc.timestamp()))
    for text in (collateral.tcb_info, collateral.qe_identity):
        head: dict[str, Any] = json.loads(text)
        since.append(int(datetime.fromisoformat(head["issueDate"]).timestamp()))
        until.append(int(datetime.fromisoformat(head["nextUpdate"]).timestamp()))
    return max(since), min(until)
