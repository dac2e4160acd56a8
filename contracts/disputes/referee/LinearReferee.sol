// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IFamily} from "../../interfaces/IFamily.sol";
import {IReferee} from "../../interfaces/IReferee.sol";
import {Graph} from "./Graph.sol";
import {Models} from "./Models.sol";
import {Operators} from "./Operators.sol";
import {Reader} from "./Reader.sol";
import {Weights} from "./Weights.sol";

/// @title LinearReferee
/// @notice Products of a quantized row with a row of a matrix.
contract LinearReferee is IFamily, Reader {
    /// @dev Fraction bits: of residual stream and logits; of normalised rows; of queries, keys, values, context, gate and
    /// up; of SiLU * up.
    uint256 private constant RESIDUAL_BITS = 16;
    uint256 private constant NORMED_BITS = 20;
    uint256 private constant INNER_BITS = 18;
    uint256 private constant ACT_BITS = 24;

    /// @inheritdoc IFamily
    function compute(IReferee.Question calldata question, IReferee.Input[] calldata inputs)
        external
        view
        returns (int256)
    {
        IReferee.Question memory q = question;
        uint256 name = q.name;
        if (q.step > q.n.graph.layers) {
            return _linear(q, inputs, Graph.LOGITS, Models.Role.AttnOutput, NORMED_BITS, RESIDUAL_BITS);
        }
        if (name == Graph.Q) return _projection(q, inputs, Models.Role.AttnQ, Models.Role.AttnQBias);
        if (name == Graph.K) return _projection(q, inputs, Models.Role.AttnK, Models.Role.AttnKBias);
        if (name == Graph.V) {
            // Transposed: each row is a number of a head.
            (q.row, q.column) = (q.column, q.row);
            return Operators.limitValue(_projection(q, inputs, Models.Role.AttnV, Models.Role.AttnVBias));
        }
        if (name == Graph.GATE) return _linear(q, inputs, Graph.GATE, Models.Role.FfnGate, NORMED_BITS, INNER_BITS);
        if (name == Graph.UP) return _linear(q, inputs, Graph.GATE, Models.Role.FfnUp, NORMED_BITS, INNER_BITS);
        if (name == Graph.DOWN) return _linear(q, inputs, name, Models.Role.FfnDown, ACT_BITS, RESIDUAL_BITS);
        return _linear(q, inputs, name, Models.Role.AttnOutput, INNER_BITS, RESIDUAL_BITS);
    }

    /// @dev Queries, keys or values of the normalised row.
    function _projection(
        IReferee.Question memory q,
        IReferee.Input[] calldata inputs,
        Models.Role role,
        Models.Role biasRole
    ) private view returns (int256) {
        if (Models.kind(q.pointer, q.step - 1, biasRole) == Models.ABSENT) {
            return _linear(q, inputs, Graph.Q, role, NORMED_BITS, INNER_BITS);
        }
        _expectInputs(inputs, 4);
        uint256 heads = role == Models.Role.AttnQ ? q.n.graph.heads : q.n.graph.kvHeads;
        int256 bias = _vector(q, biasRole, heads * q.n.graph.headWidth, q.column, INNER_BITS, inputs[3]);
        return _biased(q, inputs, Graph.Q, role, NORMED_BITS, INNER_BITS, bias);
    }

    function _linear(
        IReferee.Question memory q,
        IReferee.Input[] calldata inputs,
        uint256 after_,
        Models.Role role,
        uint256 bits,
        uint256 toBits
    ) private view returns (int256) {
        _expectInputs(inputs, 3);
        return _biased(q, inputs, after_, role, bits, toBits, 0);
    }

    /// @dev Number `q.column` of the product of a matrix and row `q.row` of the mantissas before operator `after_`.
    function _biased(
        IReferee.Question memory q,
        IReferee.Input[] calldata inputs,
        uint256 after_,
        Models.Role role,
        uint256 bits,
        uint256 toBits,
        int256 bias
    ) private view returns (int256) {
        bytes calldata mantissas = _row(q, after_ - 1, q.row, inputs[0]);
        uint256 s = uint256(_ofRow(q, after_ - 2, q.row, inputs[1]));
        (uint256 kind, uint256 first) = _weights(q, role);
        uint256 columns = _tensor(q, after_ - 1).columns;
        _checkWeight(q.n, first + q.column, kind, columns, inputs[2]);
        // Without what fills up the last leaf.
        mantissas = mantissas[:(columns + 31) / 32 * 64];
        return Operators.linear(Weights.dot(kind, mantissas, inputs[2].data), s, bits, toBits, bias);
    }
}
