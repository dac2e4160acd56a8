"""The client of dapps and shells: ask, follow, take money back, look at what was, verify it."""

from oracle.chain.requests import RequestId
from oracle.client.client import CLOSING_EVENTS, OracleClient, Quote, ServiceId, Step
from oracle.errors import TransactionFailed

__all__ = ["CLOSING_EVENTS", "OracleClient", "Quote", "RequestId", "ServiceId", "Step", "TransactionFailed"]
