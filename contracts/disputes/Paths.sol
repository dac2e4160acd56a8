// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IDisputeGame} from "../interfaces/IDisputeGame.sol";

/// @title Where games stand: one name for each place, the same for all games of a case that come the same way.
library Paths {
    /// @dev Levels that one opening of a tree goes down, at most.
    uint256 private constant LEVELS = 8;
    /// @dev Of the tree over an answer's tokens that are opened as leaves: 64 of them, 256 tokens.
    uint256 private constant TOKENS_LEVELS = 6;

    function place(IDisputeGame.CaseId caseId, IDisputeGame.Turn memory turn) internal pure returns (bytes32) {
        return
            keccak256(abi.encode(caseId, turn.stage, turn.positions, turn.step, turn.operator, turn.level, turn.index));
    }

    /// @notice Where the game's first list is, or its second.
    function listAbove(IDisputeGame.CaseId caseId, IDisputeGame.Turn memory turn, IDisputeGame.Stage stage)
        internal
        pure
        returns (bytes32)
    {
        IDisputeGame.Turn memory above;
        above.stage = stage;
        above.positions = turn.positions;
        if (stage == IDisputeGame.Stage.Operators) above.step = turn.step;
        return place(caseId, above);
    }

    /// @notice Where the nodes above an answer's tokens are.
    function tokens(IDisputeGame.CaseId caseId) internal pure returns (bytes32) {
        IDisputeGame.Turn memory first;
        first.stage = IDisputeGame.Stage.Tokens;
        return place(caseId, first);
    }

    /// @notice Levels to the nodes that are opened next: as few openings as LEVELS at a time allow, evenly.
    function down(uint256 level) internal pure returns (uint256) {
        uint256 rounds = (level + LEVELS - 1) / LEVELS;
        return rounds == 0 ? 0 : (level + rounds - 1) / rounds;
    }

    /// @notice Of the levels of the tree over an answer's tokens, those below the nodes that `openTokens` shows.
    function tokensBelow(uint256 levels) internal pure returns (uint256) {
        return levels < TOKENS_LEVELS ? levels : TOKENS_LEVELS;
    }

    /// @notice Whether `turn` is where `won` is or has been.
    function isOnTheWay(IDisputeGame.Turn memory turn, IDisputeGame.Turn memory won) internal pure returns (bool) {
        if (turn.positions != won.positions || turn.positions == 0) return false;
        if (turn.stage < IDisputeGame.Stage.Operators) return true;
        if (turn.step != won.step) return false;
        if (turn.stage == IDisputeGame.Stage.Operators) return true;
        return
            turn.operator == won.operator && turn.level >= won.level
                && won.index >> (turn.level - won.level) == turn.index;
    }
}
