"""What evidence is worth off chain: Intel's scheme by `dcap-qvl`, under a policy.

The contract's verdict and this one agree (`tests/attestation/`); this one also says why, before gas is spent. Its plain
verdict accepts what is out of date, so only the policy's is used.
"""

import json
from dataclasses import dataclass
from typing import Any

import dcap_qvl  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate

from oracle.attestation.collateral import Collateral
from oracle.attestation.quote import Quote
from oracle.errors import Refused

DAY = 86_400


class EvidenceRefused(Refused):
    """Evidence that is not sound, or not acceptable under the policy; the message says which."""


@dataclass(frozen=True)
class Policy:
    """Which sound platforms to accept. Dynamic platforms, cached keys and SMT are: real machines have some of them."""

    statuses: tuple[str, ...] = ("UpToDate",)
    """TCB statuses by Intel's names."""
    grace_seconds: int = 30 * DAY
    """For platforms that fell behind, if OutOfDate is among the statuses."""
    rejected_advisories: tuple[str, ...] = ()
    least_evaluation: int = 0
    """Number of the oldest TCB evaluation to accept."""


def judge(
    quote: Quote, collateral: Collateral, now: int, policy: Policy, root: Certificate | None = None
) -> dict[str, Any]:
    """Claims about the code, the platform and its status, as `dcap-qvl` names them.

    now: Unix seconds. root: of the vendor; None for Intel's. Raises EvidenceRefused.
    """
    wanted = dcap_qvl.QuotePolicy.strict(now).allow_dynamic_platform(True).allow_cached_keys(True).allow_smt(True)
    for status in policy.statuses:
        wanted = wanted.allow_status(status)
    if policy.rejected_advisories:
        wanted = wanted.reject_advisories(list(policy.rejected_advisories))
    if policy.least_evaluation:
        wanted = wanted.min_tcb_eval_data_number(policy.least_evaluation)
    if "OutOfDate" in policy.statuses:
        wanted = wanted.platform_grace_period(policy.grace_seconds).qe_grace_period(policy.grace_seconds)
    documents = dcap_qvl.QuoteCollateralV3(**vars(collateral))
    verifier = dcap_qvl.QuoteVerifier(None if root is None else root.public_bytes(Encoding.DER))
    try:
        claims = verifier.verify_with_policy(quote.raw, documents, now, wanted)
    except ValueError as error:
        raise EvidenceRefused(str(error)) from error
    found: dict[str, Any] = json.loads(claims.to_json())
    return found
