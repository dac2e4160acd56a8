// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IDisputeGame} from "../../contracts/interfaces/IDisputeGame.sol";
import {IModelRegistry} from "../../contracts/interfaces/IModelRegistry.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {ITokenReferee} from "../../contracts/interfaces/ITokenReferee.sol";
import {ModelId} from "../../contracts/interfaces/Types.sol";
import {MerkleTree} from "../../contracts/libraries/MerkleTree.sol";

/// @title A referee of a model so small that the fuzzer finds its lies: two operators a step, four leaves an operator.
/// @notice A leaf is wrong if it says so; an answer's tokens are malformed if their root is odd.
contract FixedReferee is IReferee, ITokenReferee {
    uint256 public constant STEPS = 3;
    uint256 public constant OPERATORS = 2;
    uint256 public constant LEVELS = 2;
    bytes1 public constant WRONG = 0xba;

    function enroll(IModelRegistry.Manifest calldata) external {}

    function enrolled(ModelId) external pure returns (bool) {
        return true;
    }

    function pointerOf(ModelId) external view returns (address) {
        return address(this);
    }

    function checkPrompts(ModelId, uint256) external pure returns (uint256) {
        return STEPS;
    }

    function steps(ModelId) external pure returns (uint256) {
        return STEPS;
    }

    function operators(ModelId, uint256) external pure returns (uint256) {
        return OPERATORS;
    }

    function pick(ModelId, Place calldata place, bytes32 list, bytes32 root, bytes32[] calldata proof)
        external
        pure
        returns (uint256)
    {
        MerkleTree.check(list, OPERATORS, place.operator, root, proof);
        return LEVELS;
    }

    function isWrong(
        ModelId,
        Place calldata,
        Roots calldata,
        Tokens calldata,
        uint256,
        bytes calldata values,
        uint256,
        Input[] calldata
    ) external pure returns (bool) {
        return values[0] == WRONG;
    }

    function isWrongChoice(
        IOracle.Request calldata,
        IOracle.Answer calldata,
        ModelId,
        Tokens calldata,
        uint256,
        bytes32,
        uint256 better,
        Input[] calldata
    ) external pure returns (bool) {
        return better == uint8(WRONG);
    }

    function isMalformed(
        IOracle.Request calldata,
        IOracle.Answer calldata ans,
        ModelId,
        Tokens calldata tokens,
        Fault,
        uint256,
        bytes calldata,
        Input[] calldata
    ) external pure returns (bool) {
        _check(ans, tokens);
        return uint256(tokens.root) % 2 == 1;
    }

    function prove(
        IDisputeGame game,
        IDisputeGame.GameId gameId,
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        Tokens calldata,
        bytes calldata values,
        uint256,
        Input[] calldata
    ) external {
        IDisputeGame.Game memory g = game.gameOf(gameId);
        if (g.turn.stage != IDisputeGame.Stage.Values) revert IDisputeGame.WrongStage(gameId, g.turn.stage);
        (bytes32 leaf, bytes32 shown) = (g.disputed, MerkleTree.hashLeaf(values));
        if (shown != leaf) revert WrongLeaf(leaf, shown);
        if (values[0] != WRONG) revert NothingWrong();
        game.won(gameId, req, ans);
    }

    function proveChoice(
        IDisputeGame game,
        IDisputeGame.GameId gameId,
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        Tokens calldata,
        uint256 better,
        Input[] calldata
    ) external {
        IDisputeGame.Game memory g = game.gameOf(gameId);
        if (g.turn.stage != IDisputeGame.Stage.Operators) revert IDisputeGame.WrongStage(gameId, g.turn.stage);
        if (better != uint8(WRONG)) revert NothingWrong();
        game.won(gameId, req, ans);
    }

    function unfold(ModelId, IOracle.Answer calldata ans, uint256 promptCount, bytes32[] calldata nodes)
        external
        pure
        returns (bytes32, uint256)
    {
        _check(ans, Tokens(promptCount, nodes[0]));
        return (nodes[0], 1);
    }

    function rootOf(bytes calldata entries) external pure returns (bytes32) {
        return bytes32(entries[:32]);
    }

    function _check(IOracle.Answer calldata ans, Tokens memory tokens) private pure {
        bytes32 computed = keccak256(abi.encode(tokens));
        if (computed != ans.tokensRoot) revert WrongTokens(ans.tokensRoot, computed);
    }
}
