// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IDisputeGame} from "../../interfaces/IDisputeGame.sol";
import {IFamily} from "../../interfaces/IFamily.sol";
import {ModelId} from "../../interfaces/Ids.sol";
import {IOracle} from "../../interfaces/IOracle.sol";
import {IReferee} from "../../interfaces/IReferee.sol";
import {ITokenReferee} from "../../interfaces/ITokenReferee.sol";
import {Paths} from "../Paths.sol";
import {Commitments} from "./Commitments.sol";
import {Inputs} from "./Inputs.sol";

/// @title What the referees of answers share: games in which nobody disputes the logits, and texts by their hash.
abstract contract Logits is Inputs {
    IReferee public immutable referee;

    constructor(IReferee referee_) {
        referee = referee_;
    }

    /// @notice The pass of a game whose node has opened the end's operators, and the root over these.
    function _opened(IDisputeGame game, IDisputeGame.GameId gameId, IOracle.Request calldata req)
        internal
        view
        returns (ModelId model, uint256 positions, bytes32 operators_)
    {
        IDisputeGame.Game memory g = game.gameOf(gameId);
        model = game.modelOf(req.service);
        if (g.turn.stage != IDisputeGame.Stage.Operators || g.turn.step + 1 != referee.steps(model)) {
            revert IDisputeGame.WrongStage(gameId, g.turn.stage);
        }
        return (model, g.turn.positions, game.openingOf(Paths.place(g.caseId, g.turn)).root);
    }

    /// @notice The end of a pass over `positions` tokens.
    function _end(ModelId model, uint256 positions, bytes32 operators_)
        internal
        view
        returns (IFamily.Question memory q)
    {
        q.pointer = referee.pointerOf(model);
        q.n = Commitments.numbers(q.pointer);
        q.roots.operators = operators_;
        q.positions = positions;
        q.step = q.n.shape.layers + 1;
    }

    /// @notice Reverts unless `text` is the request's prompt, or the answer's output, by its hash.
    function _checkText(bytes32 hash, bytes calldata text) internal pure {
        if (keccak256(text) != hash) revert ITokenReferee.WrongText(hash, keccak256(text));
    }
}
