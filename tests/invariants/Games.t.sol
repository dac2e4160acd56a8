// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test} from "forge-std/Test.sol";

import {Players} from "./Players.sol";

/// @title What holds after any sequence of games.
contract GameInvariants is Test {
    Players private players;

    function setUp() external {
        players = new Players();
        bytes4[] memory deeds = new bytes4[](13);
        deeds[0] = Players.ask.selector;
        deeds[1] = deeds[2] = Players.answer.selector;
        deeds[3] = Players.challenge.selector;
        deeds[4] = deeds[5] = deeds[6] = Players.move.selector; // games are long
        deeds[7] = Players.stop.selector;
        deeds[8] = Players.refute.selector;
        deeds[9] = Players.settle.selector;
        deeds[10] = Players.finalize.selector;
        deeds[11] = Players.pass.selector;
        deeds[12] = Players.pay.selector;
        targetContract(address(players));
        targetSelector(FuzzSelector({addr: address(players), selectors: deeds}));
    }

    function invariant_bonds_of_games_are_conserved() external view {
        (uint256 heldWei, uint256 owedWei) = players.gameWei();
        assertEq(heldWei, owedWei);
    }

    function invariant_an_answer_dies_once_and_an_honest_one_never() external view {
        assertEq(players.wronglyKilled(), 0);
    }

    function invariant_in_every_game_somebody_moves_and_a_clock_runs() external view {
        assertEq(players.stuck(), 0);
    }

    function invariant_a_disputed_answer_has_a_game() external view {
        assertEq(players.forgotten(), 0);
    }

    /// @dev Runs at the end of every sequence: no ether is ever stuck.
    function afterInvariant() external {
        players.windDown();
        (uint256 heldWei,) = players.gameWei();
        assertEq(heldWei, 0);
    }

    /// @dev The players can reach what the invariants are about; the fuzzer does the rest.
    function test_players__games__are_won_lost_and_settled() external {
        uint256 asked;
        while (players.won() < 2 || players.lost() == 0 || players.settled() == 0) {
            assertLt(asked, 60);
            players.ask();
            players.answer(asked, asked % 2 == 0, false);
            players.challenge(asked, 0, 1, false);
            players.challenge(asked, 1, 1, true);
            for (uint256 k; k < 30; ++k) {
                players.move(2 * asked + k % 2, k % 5 == 4 ? 0 : 1);
            }
            players.stop(2 * asked);
            players.stop(2 * asked + 1);
            players.settle(2 * asked);
            players.settle(2 * asked + 1);
            ++asked;
        }
        (uint256 heldWei, uint256 owedWei) = players.gameWei();
        assertEq(heldWei, owedWei);
    }
}
