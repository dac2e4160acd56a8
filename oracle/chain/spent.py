"""Who used a nonce: the transaction itself, found in its block.

Receipts come late, and an account's nonce does not say whose transaction moved it. The block does: its transactions
name their senders and nonces. The block is searched for by the account's nonce in older blocks, from the
head back.
"""

from oracle.chain.rpc import Rpc
from oracle.chain.types import Block
from oracle.errors import ReorgedAway


async def spenders(rpc: Rpc, address: str, nonce: int, head: Block) -> tuple[Block | None, frozenset[bytes]]:
    """The block up to `head` in which that nonce was used, and the hashes of the transactions that did so there.

    More than one where endpoints contradict each other; an empty hash stands for an endpoint that has the block and
    shows no such transaction. No block and no hashes if no endpoint can tell, because none keeps older states. Raises
    RpcUnavailable.
    """
    try:
        block = await _block_of(rpc, address, nonce, head)
    except ReorgedAway:  # or forgotten
        block = None
    if block is None:
        return None, frozenset()
    return block, frozenset(await rpc.transactions_by(address, nonce, block))


async def _block_of(rpc: Rpc, address: str, nonce: int, head: Block) -> Block | None:
    """The first block after which `address` has used `nonce`. Raises ReorgedAway, RpcUnavailable."""
    used, step = head, 1
    while True:
        unused = await rpc.block(max(head.number - step, 0))
        if unused is None:
            return None
        if await rpc.nonce(address, unused) <= nonce:
            break
        if unused.number == 0:
            return None
        used, step = unused, 2 * step
    while used.number - unused.number > 1:
        middle = await rpc.block((used.number + unused.number) // 2)
        if middle is None:
            return None
        if await rpc.nonce(address, middle) <= nonce:
            unused = middle
        else:
            used = middle
    return used
