// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IDisputeGame} from "../../interfaces/IDisputeGame.sol";
import {ModelId} from "../../interfaces/Ids.sol";
import {IFamily} from "../../interfaces/IFamily.sol";
import {IModelRegistry} from "../../interfaces/IModelRegistry.sol";
import {IOracle} from "../../interfaces/IOracle.sol";
import {IReferee} from "../../interfaces/IReferee.sol";
import {MerkleTree} from "../../libraries/MerkleTree.sol";
import {Prompts} from "../../libraries/Prompts.sol";
import {RequestLib} from "../../libraries/RequestLib.sol";
import {Paths} from "../Paths.sol";
import {Commitments} from "./Commitments.sol";
import {Graph} from "./Graph.sol";
import {Inputs} from "./Inputs.sol";
import {Operators} from "./Operators.sol";
import {Quants} from "./Quants.sol";

/// @title Referee
/// @notice Knows the models, finds the element in question, and asks the family that computes it. It keeps nothing else.
contract Referee is IReferee, Inputs {
    using Graph for Graph.Tensor;
    using RequestLib for IOracle.Answer;

    IModelRegistry public immutable registry;
    IFamily public immutable linear;
    IFamily public immutable rows;
    IFamily public immutable attention;

    /// @inheritdoc IReferee
    mapping(ModelId model => address) public pointerOf;

    constructor(IModelRegistry registry_, IFamily linear_, IFamily rows_, IFamily attention_) {
        registry = registry_;
        linear = linear_;
        rows = rows_;
        attention = attention_;
    }

    /* MODELS */

    /// @inheritdoc IReferee
    function enroll(IModelRegistry.Manifest calldata manifest) external {
        ModelId model = ModelId.wrap(keccak256(abi.encode(manifest)));
        if (!registry.registered(model)) revert NotRegistered(model);
        if (enrolled(model)) revert AlreadyEnrolled(model);
        if (manifest.weightsRoot == 0 || manifest.architecture.length == 0) revert NotExact(model);

        pointerOf[model] = Commitments.write(manifest);
        emit ModelEnrolled(model);
    }

    /// @inheritdoc IReferee
    function enrolled(ModelId model) public view returns (bool) {
        return pointerOf[model] != address(0);
    }

    /// @inheritdoc IReferee
    function checkPrompts(ModelId model, uint256 promptBytes) external view returns (uint256 count) {
        IFamily.Numbers memory n = _numbers(model);
        bool takesText = Commitments.text(pointerOf[model]).kind != 0;
        Prompts.checkEnvelope(n.contextLength, n.prefixCount + n.suffixCount, promptBytes, takesText);
        return Graph.steps(n.shape);
    }

    function _numbers(ModelId model) private view returns (IFamily.Numbers memory) {
        if (!enrolled(model)) revert NotEnrolled(model);
        return Commitments.numbers(pointerOf[model]);
    }

    /* SHAPES */

    /// @inheritdoc IReferee
    function steps(ModelId model) external view returns (uint256) {
        return Graph.steps(_shape(model));
    }

    /// @inheritdoc IReferee
    function operators(ModelId model, uint256 step) external view returns (uint256) {
        return Graph.operators(_shape(model), step);
    }

    /// @inheritdoc IReferee
    function pick(ModelId model, Place calldata place, bytes32 list, bytes32 root, bytes32[] calldata proof)
        external
        view
        returns (uint256 levels)
    {
        IFamily.Shape memory g = _shape(model);
        uint256 name = Graph.named(g, place.step, place.operator);
        MerkleTree.check(list, Graph.operators(g, place.step), place.operator, root, proof);
        return Graph.tensor(g, place.step, name, place.positions).depth();
    }

    function _shape(ModelId model) private view returns (IFamily.Shape memory) {
        if (!enrolled(model)) revert NotEnrolled(model);
        return Commitments.shape(pointerOf[model]);
    }

    /* RULING */

    /// @inheritdoc IReferee
    function prove(
        IDisputeGame game,
        IDisputeGame.GameId gameId,
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        Tokens calldata tokens,
        bytes calldata values,
        uint256 element,
        Input[] calldata inputs
    ) external {
        IDisputeGame.Game memory g = game.gameOf(gameId);
        if (g.turn.stage != IDisputeGame.Stage.Values || g.turn.positions == 0) {
            revert IDisputeGame.WrongStage(gameId, g.turn.stage);
        }
        _checkTokens(ans, tokens);
        bytes32 opened = MerkleTree.hashLeaf(values);
        if (opened != g.disputed) revert WrongLeaf(g.disputed, opened);
        Place memory place = Place(g.turn.positions, g.turn.step, g.turn.operator, g.turn.index);
        Roots memory roots;
        roots.steps = game.openingOf(Paths.listAbove(g.caseId, g.turn, IDisputeGame.Stage.Steps)).root;
        roots.operators = game.openingOf(Paths.listAbove(g.caseId, g.turn, IDisputeGame.Stage.Operators)).root;
        // The game checks that the request is its own, and that it is the challenger's move.
        ModelId model = game.modelOf(req.service);
        if (!_isWrong(model, place, roots, tokens, ans.tokenCount(), values, element, inputs)) revert NothingWrong();
        game.won(gameId, req, ans);
    }

    /// @inheritdoc IReferee
    function isWrong(
        ModelId model,
        Place calldata place,
        Roots calldata roots,
        Tokens calldata tokens,
        uint256 tokenCount,
        bytes calldata values,
        uint256 element,
        Input[] calldata inputs
    ) external view returns (bool) {
        return _isWrong(model, place, roots, tokens, tokenCount, values, element, inputs);
    }

    function _isWrong(
        ModelId model,
        Place memory place,
        Roots memory roots,
        Tokens calldata tokens,
        uint256 tokenCount,
        bytes calldata values,
        uint256 element,
        Input[] calldata inputs
    ) private view returns (bool) {
        IFamily.Question memory q;
        q.pointer = pointerOf[model];
        q.n = _numbers(model);
        q.roots = roots;
        q.positions = place.positions;
        q.step = place.step;
        q.name = Graph.named(q.n.shape, place.step, place.operator);
        Graph.Tensor memory t = _tensor(q, q.name);
        if (!t.holds(place.leaf)) return keccak256(values) != keccak256(new bytes(32));

        if (values.length != t.leafBytes()) return true;
        uint256 held = t.numberBytes == 2 ? values.length / 2 : t.leafNumbers();
        if (element >= held) revert NoSuchElement(element, held);
        int256 given = _number(t, values, element);
        (q.row, q.column) = t.position(place.leaf);
        q.column += element;
        // What fills up a row's last leaf is zero.
        if (element >= t.leafNumbers() || q.column >= t.columns) return given != 0;
        if (q.step == 0) return given != _embedding(q, tokens, tokenCount, inputs);
        return given != _family(q).compute(q, inputs);
    }

    function _embedding(IFamily.Question memory q, Tokens calldata tokens, uint256 tokenCount, Input[] calldata inputs)
        private
        view
        returns (int256)
    {
        _expectInputs(inputs, 2);
        (uint256 token,) = _entry(tokens, tokens.promptCount + tokenCount, q.row, inputs[0]);
        // The rows of other tensors follow the embedding's.
        if (token >= q.n.shape.vocabulary) revert NoSuchElement(token, q.n.shape.vocabulary);
        uint256 kind = Commitments.kind(q.pointer, Commitments.EMBEDDING);
        _checkWeight(q.n, token, kind, q.n.shape.width, inputs[1]);
        int256 weight = Quants.weight(kind, inputs[1].data, q.column);
        if (q.n.shape.isGemma) return Operators.embedScaled(weight, Quants.bitsOf(kind), q.n.shape.width);
        return Operators.embed(weight, Quants.bitsOf(kind));
    }

    function _family(IFamily.Question memory q) private view returns (IFamily) {
        uint256 name = q.name;
        if (q.step > q.n.shape.layers) return name == Graph.LOGITS ? linear : rows;
        if (
            (name >= Graph.Q && name <= Graph.V) || name == Graph.ATTN_OUTPUT || name == Graph.GATE || name == Graph.UP
                || name == Graph.DOWN
        ) return linear;
        bool attends = name == Graph.Q_ROPE || name == Graph.K_ROPE || (name >= Graph.SCORE && name <= Graph.CONTEXT);
        return attends ? attention : rows;
    }
}
