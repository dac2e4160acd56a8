// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";

import {IFamily} from "../../interfaces/IFamily.sol";
import {IReferee} from "../../interfaces/IReferee.sol";
import {Graph} from "./Graph.sol";
import {Inputs} from "./Inputs.sol";
import {Operators} from "./Operators.sol";
import {Powers} from "./Powers.sol";
import {Quants} from "./Quants.sol";

/// @title AttentionReferee
/// @notice Rotation, scores, softmax, context.
contract AttentionReferee is IFamily, Inputs {
    /// @dev By which llama.cpp knows the model that divides scores by another root.
    uint256 private constant GEMMA_27B_LAYERS = 62;

    /// @inheritdoc IFamily
    function compute(IFamily.Question calldata question, IReferee.Input[] calldata inputs)
        external
        pure
        returns (int256)
    {
        IFamily.Question memory q = question;
        uint256 name = q.name;
        IFamily.Shape memory g = q.n.shape;
        if (name == Graph.Q_ROPE) return _rotated(q, inputs, g.heads, g.headNorms ? name - 1 : Graph.Q);
        if (name == Graph.K_ROPE) return _rotated(q, inputs, g.kvHeads, g.headNorms ? name - 1 : Graph.K);
        if (name == Graph.SCORE) return _score(q, inputs);
        if (name == Graph.CONTEXT) return _context(q, inputs);
        return _softmax(q, inputs);
    }

    /// @dev Of a pair that is turned, both; of a number that is not, that one alone.
    function _rotated(IFamily.Question memory q, IReferee.Input[] calldata inputs, uint256 heads, uint256 source)
        private
        pure
        returns (int256)
    {
        uint256 width = q.n.shape.headWidth;
        uint256 pairs = q.n.ropeWidth / 2;
        uint256 column = q.column;
        if (column >= 2 * pairs) {
            _expectInputs(inputs, 1);
            (uint256 row_, uint256 column_) = _within(q, source, width);
            return _at(q, source, row_, column_, inputs[0]);
        }
        _expectInputs(inputs, 3);
        bool second = q.n.interleaved ? column % 2 == 1 : column >= pairs;
        uint256 pair = q.n.interleaved ? column / 2 : column % pairs;
        q.column = q.n.interleaved ? 2 * pair : pair;
        (uint256 row, uint256 first) = _within(q, source, width);
        int256 a = _at(q, source, row, first, inputs[0]);
        int256 b = _at(q, source, row, first + (q.n.interleaved ? 1 : pairs), inputs[1]);
        (int256 cosine, int256 sine) = _rotation(q, q.row / heads, pair, inputs[2]);
        (int256 x, int256 y) = Operators.rotate(a, b, cosine, sine);
        return second ? y : x;
    }

    function _score(IFamily.Question memory q, IReferee.Input[] calldata inputs) private pure returns (int256) {
        IFamily.Shape memory g = q.n.shape;
        if (!_sees(q, q.row / g.heads)) return 0;
        _expectInputs(inputs, 4);
        uint256 key = q.column * g.kvHeads + q.row % g.heads / (g.heads / g.kvHeads);
        bytes calldata queries = _row(q, Graph.Q_ROPE + 3, q.row, inputs[0]);
        bytes calldata keys = _row(q, Graph.K_ROPE + 3, key, inputs[1]);
        uint256 s = uint256(_ofRow(q, Graph.Q_ROPE + 2, q.row, inputs[2]));
        uint256 t = uint256(_ofRow(q, Graph.K_ROPE + 2, key, inputs[3]));
        // 1 / sqrt(width) with 24 fraction bits, to nearest.
        uint256 width = g.isGemma && g.layers == GEMMA_27B_LAYERS ? g.width / g.heads : g.headWidth;
        int256 scale = int256((FixedPointMathLib.sqrt(2 ** 50 / width) + 1) >> 1);
        return Operators.score(Quants.product(queries, keys), scale, s, t);
    }

    /// @dev Whether `position` sees that of the column: itself and those before, so many in all where there is a window.
    function _sees(IFamily.Question memory q, uint256 position) private pure returns (bool) {
        uint256 window = _window(q);
        return q.column <= position && (window == 0 || position - q.column < window);
    }

    /// @dev Largest score, shares, their sum.
    function _softmax(IFamily.Question memory q, IReferee.Input[] calldata inputs) private pure returns (int256) {
        uint256 heads = q.n.shape.heads;
        if (q.name == Graph.SHARE) {
            uint256 position = q.row / heads;
            if (!_sees(q, position)) return 0;
            _expectInputs(inputs, 2);
            int256 z = _at(q, Graph.SCORE, q.row, q.column, inputs[0]);
            return Operators.share(Powers.TABLE, z, _at(q, Graph.SCORE_MAX, position, q.row % heads, inputs[1]));
        }
        _expectInputs(inputs, 1);
        bytes calldata row = _row(q, q.name - 1, q.row * heads + q.column, inputs[0]);
        uint256 window = _window(q);
        row = row[window == 0 || q.row < window ? 0 : 4 * (q.row + 1 - window):4 * (q.row + 1)];
        return q.name == Graph.SCORE_MAX ? Operators.largest(row) : Operators.total(row);
    }

    function _context(IFamily.Question memory q, IReferee.Input[] calldata inputs) private pure returns (int256) {
        _expectInputs(inputs, 3);
        IFamily.Shape memory g = q.n.shape;
        uint256 head = q.column / g.headWidth;
        uint256 keyHead = head / (g.heads / g.kvHeads);
        uint256 value = keyHead * g.headWidth + q.column % g.headWidth;
        bytes calldata shares = _row(q, Graph.SHARE, q.row * g.heads + head, inputs[0]);
        bytes calldata values = _row(q, Graph.V, value, inputs[1]);
        uint256 seen = 4 * (q.row + 1);
        return Operators.context(shares[:seen], values[:seen], _at(q, Graph.SHARE_SUM, q.row, head, inputs[2]));
    }
}
