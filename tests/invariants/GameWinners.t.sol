// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IDisputeGame} from "../../contracts/interfaces/IDisputeGame.sol";
import {OneAnswer} from "./OneAnswer.sol";

/// @title Which of the games that stand where a proof is given has won: games are told apart by the order in which they were
/// opened, and that in which they came there.
/// @dev What the proof shows, the referee judges; here it just says that one was given.
contract GameWinners is OneAnswer {
    IDisputeGame.GameId[3] private ids;
    bytes32[] private operators;

    /// @dev Three games about one pass, of which these come, in this order, to the place of a step's operators.
    function _come(uint256[] memory order) private {
        for (uint256 i; i < 3; ++i) {
            ids[i] = challenge(FIRST, 2 * BOND);
        }
        bytes32[] memory list = open(ids[0], 0);
        for (uint256 i; i < order.length; ++i) {
            pick(ids[order[i] - 1], list, 0);
        }
        operators = open(ids[order[0] - 1], list[0]);
    }

    function _order(uint256 a, uint256 b, uint256 c) private pure returns (uint256[] memory order) {
        order = new uint256[](3);
        (order[0], order[1], order[2]) = (a, b, c);
    }

    function _proven(uint256 number) private {
        vm.prank(address(referee));
        game.won(ids[number - 1], req, ans);
    }

    /// @dev Whom a proof pays that is given in each of the three games.
    function _pays(uint256 one, uint256 two, uint256 three) private {
        uint256[3] memory winners = [one, two, three];
        for (uint256 i; i < 3; ++i) {
            uint256 start = vm.snapshotState();
            _proven(i + 1);
            assertEq(game.caseOf(caseId).won, winners[i]);
            assertEq(uint8(game.gameOf(ids[winners[i] - 1]).turn.stage), uint8(IDisputeGame.Stage.Over));
            vm.revertToState(start);
        }
    }

    function test_won__games_came_as_they_were_opened__the_oldest_wins_whoever_proves() external {
        _come(_order(1, 2, 3));
        _pays(1, 1, 1);
    }

    /// @dev So a liar's puppet that challenges before anybody else, and follows, takes nothing from who proves.
    function test_won__older_game_came_later__who_was_first_keeps_its_proof() external {
        _come(_order(2, 1, 3));
        _pays(1, 2, 2);
    }

    /// @dev Who overtakes the oldest on the way must prove itself.
    function test_won__younger_game_came_first__the_oldest_keeps_its_proof() external {
        _come(_order(3, 1, 2));
        _pays(1, 3, 3);
    }

    function test_won__who_was_first_went_on__the_oldest_wins_or_who_proves() external {
        _come(_order(2, 1, 3));
        pick(ids[1], operators, 0);
        uint256 start = vm.snapshotState();
        _proven(3);
        assertEq(game.caseOf(caseId).won, 1);
        vm.revertToState(start);
        pick(ids[0], operators, 0);
        _proven(3);
        assertEq(game.caseOf(caseId).won, 3);
    }

    /// @dev The younger game's clock began later.
    function test_won__who_was_first_has_run_out_of_time__who_proves_wins() external {
        ids[0] = challenge(FIRST, BOND);
        bytes32[] memory list = open(ids[0], 0);
        pick(ids[0], list, 0);
        operators = open(ids[0], list[0]);
        skip(50);
        ids[1] = challenge(FIRST, 2 * BOND);
        pick(ids[1], list, 0);
        vm.warp(game.gameOf(ids[0]).turn.deadline);
        uint256 start = vm.snapshotState();
        _proven(2);
        assertEq(game.caseOf(caseId).won, 1);
        vm.revertToState(start);
        skip(1);
        _proven(2);
        assertEq(game.caseOf(caseId).won, 2);
    }
}
