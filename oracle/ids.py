"""Ids on the chain, each a type of its own, so that no two can be swapped.

The same in Solidity: `contracts/interfaces/Ids.sol`, and `GameId` and `CaseId` in the arbiters' interfaces.
"""

from typing import NewType

RequestId = NewType("RequestId", int)
"""Hash of a request's words."""
ServiceId = NewType("ServiceId", bytes)
"""Hash of a service's terms."""
ModelId = NewType("ModelId", bytes)
"""Hash of a model's manifest."""
CaseId = NewType("CaseId", bytes)
"""A dispute about one answer: of a panel, or of the dispute game, which hash different things."""
GameId = NewType("GameId", int)
"""A game within a case: hash of the case and the game's number."""
