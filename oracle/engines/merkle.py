"""The Merkle root that commits an answer to its token ids.

Ids are unsigned 32-bit big-endian, eight to a 32-byte leaf, the last padded with zeros; leaves are padded to a power of
two with zero leaves. Leaves and inner nodes are hashed under different tags, so that neither passes for the other. The
count is not in the root: whoever uses the root binds the count beside it.
"""

from collections.abc import Sequence

from eth_hash.auto import keccak

LEAF_TAG, NODE_TAG = b"\x00", b"\x01"
TOKENS_PER_LEAF = 8
LEAF_BYTES = 4 * TOKENS_PER_LEAF


def tokens_root(tokens: Sequence[int]) -> bytes:
    """32 bytes. tokens: at least one id, each below 2^32."""
    if not tokens:
        raise ValueError("an answer holds at least one token")
    data = b"".join(token.to_bytes(4, "big") for token in tokens)
    leaves = [data[start : start + LEAF_BYTES].ljust(LEAF_BYTES, b"\x00") for start in range(0, len(data), LEAF_BYTES)]
    padding = (1 << (len(leaves) - 1).bit_length()) - len(leaves)
    level = [keccak(LEAF_TAG + leaf) for leaf in leaves + [bytes(LEAF_BYTES)] * padding]
    while len(level) > 1:
        level = [keccak(NODE_TAG + left + right) for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]
