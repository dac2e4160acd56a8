"""What lying costs and what it can win, before a panel and in many games: prints the tables of docs/economics.md.

    python tools/economics.py

Exact arithmetic: seats are drawn without replacement, one an owner.
"""

import json
from fractions import Fraction
from math import comb
from pathlib import Path

from oracle.chain.units import ETHER
from oracle.client.devnet import GAME, PANEL

GWEI = 10**9
REWARD = Fraction(3, 10)


def panel_captured(owners: int, dishonest: int, size: int) -> Fraction:
    """Probability that dishonest owners hold a majority of a panel.

    The answering owner sits on no panel; it is one of the dishonest.
    """
    others, bad = owners - 1, dishonest - 1
    majority = size // 2 + 1
    won = sum(comb(bad, k) * comb(others - bad, size - k) for k in range(majority, size + 1) if k <= bad)
    return Fraction(won, comb(others, size))


def break_even(captured: Fraction, bond: Fraction) -> Fraction:
    """Value of one false answer at which lying begins to pay, in units of the bond, everybody else being awake.

    A lie found out costs half the bond: the other half may come back to a liar who challenges its own answer first.
    """
    return bond / 2 * (1 - captured) / captured if captured else Fraction(-1)


def tables() -> str:
    lines = [
        "| dishonest owners of 20 | panel of 3 | panel of 5 | panel of 7 |",
        "|---|---|---|---|",
    ]
    for dishonest in (1, 2, 4, 6, 8, 10):
        shares = [panel_captured(20, dishonest, size) for size in (3, 5, 7)]
        lines.append(f"| {dishonest} | " + " | ".join(f"{float(share):.2%}" for share in shares) + " |")
    lines += [
        "",
        "| dishonest owners of 20 | panel of 3 | panel of 5 | panel of 7 |",
        "|---|---|---|---|",
    ]
    for dishonest in (1, 2, 4, 6, 8, 10):
        worths = [break_even(panel_captured(20, dishonest, size), Fraction(1)) for size in (3, 5, 7)]
        cells = ["no lie pays" if worth < 0 else f"{float(worth):.1f} bonds" for worth in worths]
        lines.append(f"| {dishonest} | " + " | ".join(cells) + " |")
    bond, challenge = 1.0, PANEL.challenge_bond_wei / ETHER
    fees = PANEL.panel_size * PANEL.vote_fee_wei / ETHER
    lines += [
        "",
        "| who | does | loses, ether | others lose at most | ratio |",
        "|---|---|---|---|---|",
        f"| a node | lies, and its answer is rejected | {bond:.2f} | nothing | - |",
        f"| a node | lies and challenges itself first | {bond / 2:.2f} burnt, {fees:.2f} in fees | nothing | - |",
        f"| a challenger | challenges a right answer | {challenge:.2f} | one window of delay | - |",
        f"| a member | does not vote | {PANEL.absence_penalty_wei / ETHER:.2f} and its fee | nothing | - |",
        f"| members | tie a case by absence | {PANEL.absence_penalty_wei / ETHER:.2f} each "
        f"| {fees / 3:.2f} (half of two fees) to each side | {PANEL.absence_penalty_wei / ETHER / (fees / 3):.1f} |",
    ]
    lines += ["", *queue(), "", *delay(), "", *showing()]
    return "\n".join(lines)


def queue() -> list[str]:
    """What games that somebody else opened before cost, and by how much they put a game off."""
    lines = [
        "| games open before | their bonds, ether | bond of the next | the node's clock in it, s | it ends within, s |",
        "|---|---|---|---|---|",
    ]
    for games in (0, 1, 16, 64, 500):
        locked = sum(GAME.price_wei(n) for n in range(games)) / ETHER
        clock, longest = (of(games, min(games, 1)) for of in (GAME.node_clock_seconds, GAME.longest_seconds))
        lines.append(f"| {games} | {locked:.2f} | {GAME.price_wei(games) / ETHER:.2f} | {clock:,} | {longest:,} |")
    return lines


def delay() -> list[str]:
    """What challengers of a right answer lose, and for how long they hold it up."""
    lines = [
        "| games about a right answer | the challengers lose, ether | it is delayed by at most, s |",
        "|---|---|---|",
    ]
    for games in (1, 2, 16, 64, 500):
        lost = sum(GAME.price_wei(n) for n in range(games)) / ETHER
        lines.append(f"| {games} | {lost:.2f} | {GAME.delay_seconds(games):,} |")
    return lines


def showing() -> list[str]:
    """What it costs to show a lie, and the price of gas at which that is the whole reward."""
    gas = json.loads((Path(__file__).resolve().parents[1] / "gas.json").read_text())
    game = gas["dispute_8b_challenge"] + 4 * gas["dispute_8b_pick"]
    choice = gas["dispute_8b_challenge"] + gas["dispute_8b_pick"]
    ways = {
        "a refutation: a token that is not what the text says": gas["refute_post"] + gas["refute"],
        "a game about a number of an 8B model, the dearest": game + gas["dispute_8b_largest"],
        "a game about the choice of a pattern, at the limits of types": choice + gas["prove_pattern_worst"],
        "a refutation of a pattern, at the limits of types": gas["refute_post"] + gas["refute_pattern_worst"],
        "a refutation of a text cut otherwise, the longest piece": gas["refute_post"] + gas["refute_cut_worst"],
        "a game about the dearest number that a model may have": game + gas["referee_linear_iq4_xs_65536"],
    }
    lines = [
        "| a lie is shown by | gas for whoever shows it, M | reward pays it up to, gwei | S that pays it at 10 gwei |",
        "|---|---|---|---|",
    ]
    for way, units in ways.items():
        most = ETHER * REWARD / units / GWEI
        least = units * 10 * GWEI / REWARD / ETHER
        lines.append(f"| {way} | {units / 1e6:.2f} | {float(most):,.0f} | {float(least):.2f} |")
    return lines


if __name__ == "__main__":
    print(tables())
