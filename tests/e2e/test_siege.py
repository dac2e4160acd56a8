"""A share of the siege that `make prove` lays: a node's process and several games at once, on a chain in real time."""

from e2e.siege import SHARE, TERMS, sieges

SEED = 11
PACE = 0.5  # seconds to a block, of twelve on the chain


def test_siege__games_at_several_positions_at_once__no_move_is_late_and_no_bond_lost(tmp_path):
    """`play` fails at the first move that is late, at an answer that dies and at stake that is lost."""
    (_, one), (_, many) = sieges(tmp_path, SEED, PACE, SHARE)
    assert (one.games, one.ended) == (1, 1)
    assert many.games == many.ended == SHARE.positions
    assert many.openings > many.games, "each game asks for more than its first opening"
    assert many.left_seconds > 0
    assert many.paid_wei > 0
    assert many.lost_wei >= SHARE.positions * TERMS.challenge_bond_wei
