"""The client of dapps and shells: ask, follow, take money back, look at what was, verify it."""

from oracle.client.client import CLOSING_EVENTS, OracleClient, Quote, Step
from oracle.errors import TransactionFailed
from oracle.ids import RequestId, ServiceId

__all__ = ["CLOSING_EVENTS", "OracleClient", "Quote", "RequestId", "ServiceId", "Step", "TransactionFailed"]
