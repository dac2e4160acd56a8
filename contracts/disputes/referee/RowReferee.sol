// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";

import {IFamily} from "../../interfaces/IFamily.sol";
import {IReferee} from "../../interfaces/IReferee.sol";
import {Commitments} from "./Commitments.sol";
import {Constants} from "./Constants.sol";
import {Graph} from "./Graph.sol";
import {Inputs} from "./Inputs.sol";
import {Operators} from "./Operators.sol";
import {Quants} from "./Quants.sol";

/// @title RowReferee
/// @notice Norms, quantizing, the gate, residual sums, the largest logit.
contract RowReferee is IFamily, Inputs {
    using Graph for Graph.Tensor;

    /// @inheritdoc IFamily
    function compute(IFamily.Question calldata question, IReferee.Input[] calldata inputs)
        external
        view
        returns (int256)
    {
        IFamily.Question memory q = question;
        uint256 name = q.name;
        if (name < Graph.Q) {
            return _norm(q, inputs, Graph.NORM, Graph.BEFORE, Commitments.Role.AttnNorm, Constants.NORMED_BITS);
        }
        if (q.step > q.n.shape.layers) return _most(q, inputs);
        if (name < Graph.Q_ROPE) {
            return _norm(q, inputs, Graph.Q_NORM, Graph.Q, Commitments.Role.AttnQNorm, Constants.INNER_BITS);
        }
        if (name < Graph.K_NORM) return _quantized(q, inputs, Graph.Q_ROPE + 1, Graph.Q_ROPE);
        if (name < Graph.K_ROPE) {
            return _norm(q, inputs, Graph.K_NORM, Graph.K, Commitments.Role.AttnKNorm, Constants.INNER_BITS);
        }
        if (name < Graph.SCORE) return _quantized(q, inputs, Graph.K_ROPE + 1, Graph.K_ROPE);
        if (name < Graph.ATTN_OUTPUT) return _quantized(q, inputs, Graph.CONTEXT + 1, Graph.CONTEXT);
        bool isGemma = q.n.shape.isGemma;
        if (name < Graph.ATTN_RESIDUAL) {
            return _blockNorm(q, inputs, Graph.ATTN_POST_NORM, Commitments.Role.AttnPostNorm);
        }
        if (name == Graph.ATTN_RESIDUAL) {
            return _sum(q, inputs, Graph.BEFORE, isGemma ? name - 1 : Graph.ATTN_OUTPUT);
        }
        if (name < Graph.GATE) {
            return
                _norm(q, inputs, Graph.FFN_NORM, Graph.ATTN_RESIDUAL, Commitments.Role.FfnNorm, Constants.NORMED_BITS);
        }
        if (name == Graph.ACT) return _gated(q, inputs);
        if (name < Graph.DOWN) return _quantized(q, inputs, Graph.ACT + 1, Graph.ACT);
        if (name < Graph.RESIDUAL) return _blockNorm(q, inputs, Graph.FFN_POST_NORM, Commitments.Role.FfnPostNorm);
        return _sum(q, inputs, Graph.ATTN_RESIDUAL, isGemma ? name - 1 : Graph.DOWN);
    }

    /// @dev Of a block's output, the operator before.
    function _blockNorm(
        IFamily.Question memory q,
        IReferee.Input[] calldata inputs,
        uint256 first,
        Commitments.Role role
    ) private view returns (int256) {
        return _norm(q, inputs, first, first - 1, role, Constants.RESIDUAL_BITS);
    }

    /// @dev Peaks, shift and mantissas of `of`; sum, root, result; peaks, shift and mantissas of the result.
    function _norm(
        IFamily.Question memory q,
        IReferee.Input[] calldata inputs,
        uint256 first,
        uint256 source,
        Commitments.Role role,
        uint256 bits
    ) private view returns (int256) {
        uint256 k = q.name - first;
        if (k < 3) return _quantized(q, inputs, first, source);
        if (k > 5) return _quantized(q, inputs, first + 6, first + 5);
        Graph.Tensor memory mantissas = _tensor(q, first + 2);
        if (k == 3) {
            _expectInputs(inputs, 1);
            uint256 row = q.row * _tensor(q, q.name).columns + q.column;
            bytes calldata data = _row(q, first + 2, row, inputs[0]);
            return Quants.product(data, data);
        }
        if (k == 4) {
            _expectInputs(inputs, 2);
            uint256 sum = uint256(_at(q, first + 3, q.row, q.column, inputs[0]));
            uint256 s = uint256(_at(q, first + 1, q.row, q.column, inputs[1]));
            uint256 epsilon = bits == Constants.INNER_BITS ? q.n.headEpsilon : q.n.epsilon;
            return int256(Operators.meanRoot(sum, s, mantissas.columns, epsilon));
        }
        _expectInputs(inputs, 4);
        (uint256 row_, uint256 column) = _within(q, source, mantissas.columns);
        int256 x = _at(q, source, row_, column, inputs[0]);
        uint256 root = uint256(_ofRow(q, first + 4, q.row, inputs[1]));
        uint256 shift = uint256(_ofRow(q, first + 1, q.row, inputs[2]));
        (int256 weight, uint256 weightBits) =
            _vector(q, role, mantissas.columns, q.column, Constants.SCALE_BITS, inputs[3]);
        int256 most = bits == Constants.INNER_BITS ? Constants.INT32 : Constants.LARGEST_RESIDUAL;
        return Operators.normalize(x, root, shift, weight, Constants.UNIT_BITS + weightBits - bits, most);
    }

    /// @dev Operators `first` to `first + 2`: peaks, shift and mantissas of the rows of `of`.
    function _quantized(IFamily.Question memory q, IReferee.Input[] calldata inputs, uint256 first, uint256 source)
        private
        pure
        returns (int256)
    {
        uint256 columns = _tensor(q, first + 2).columns;
        if (q.name == first) {
            _expectInputs(inputs, 1);
            uint256 count = FixedPointMathLib.min(Graph.LEAF_NUMBERS, columns - q.column * Graph.LEAF_NUMBERS);
            q.column *= Graph.LEAF_NUMBERS;
            (uint256 row, uint256 from) = _within(q, source, columns);
            Graph.Tensor memory t = _tensor(q, source);
            uint256 numbers = t.leafNumbers();
            if (from / numbers == (from + count - 1) / numbers) {
                bytes calldata leaf = _leaf(q, source, row, from, inputs[0]);
                return _largest(t, leaf, from % numbers, from % numbers + count, true);
            }
            // A head that lies across leaves.
            return _largest(t, _row(q, source, row, inputs[0]), from, from + count, true);
        }
        if (q.name == first + 1) {
            _expectInputs(inputs, 1);
            uint256 row = q.row * _tensor(q, q.name).columns + q.column;
            Graph.Tensor memory peaks = _tensor(q, first);
            int256 most = _largest(peaks, _row(q, first, row, inputs[0]), 0, peaks.columns, false);
            return int256(Operators.rowShift(uint256(most)));
        }
        _expectInputs(inputs, 2);
        (uint256 row_, uint256 column) = _within(q, source, columns);
        int256 x = _at(q, source, row_, column, inputs[0]);
        return Operators.mantissa(x, uint256(_ofRow(q, first + 1, q.row, inputs[1])));
    }

    function _gated(IFamily.Question memory q, IReferee.Input[] calldata inputs) private pure returns (int256) {
        _expectInputs(inputs, 2);
        int256 gate = _at(q, Graph.GATE, q.row, q.column, inputs[0]);
        return Operators.gated(gate, _at(q, Graph.UP, q.row, q.column, inputs[1]), q.n.shape.isGemma);
    }

    /// @dev The largest logit of a leaf, and of all.
    function _most(IFamily.Question memory q, IReferee.Input[] calldata inputs) private pure returns (int256) {
        _expectInputs(inputs, 1);
        Graph.Tensor memory t = _tensor(q, q.name - 1);
        if (q.name == Graph.LOGITS_MAX) {
            return _largest(t, _row(q, Graph.LOGITS_PEAK, 0, inputs[0]), 0, t.columns, false);
        }
        uint256 start = q.column * Graph.LEAF_NUMBERS;
        uint256 count = FixedPointMathLib.min(Graph.LEAF_NUMBERS, t.columns - start);
        return _largest(t, _leaf(q, Graph.LOGITS, 0, start, inputs[0]), 0, count, false);
    }

    function _sum(IFamily.Question memory q, IReferee.Input[] calldata inputs, uint256 x, uint256 y)
        private
        pure
        returns (int256)
    {
        _expectInputs(inputs, 2);
        return Operators.add(_at(q, x, q.row, q.column, inputs[0]), _at(q, y, q.row, q.column, inputs[1]));
    }
}
