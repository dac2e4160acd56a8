// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IFamily} from "../../interfaces/IFamily.sol";
import {IReferee} from "../../interfaces/IReferee.sol";
import {Commitments} from "./Commitments.sol";
import {Constants} from "./Constants.sol";
import {Graph} from "./Graph.sol";
import {Inputs} from "./Inputs.sol";
import {Operators} from "./Operators.sol";
import {Quants} from "./Quants.sol";

/// @title LinearReferee
/// @notice Products of a quantized row with a row of a matrix.
contract LinearReferee is IFamily, Inputs {
    /// @inheritdoc IFamily
    function compute(IFamily.Question calldata question, IReferee.Input[] calldata inputs)
        external
        view
        returns (int256)
    {
        IFamily.Question memory q = question;
        uint256 name = q.name;
        if (q.step > q.n.shape.layers) {
            return _linear(
                q, inputs, Graph.LOGITS, Commitments.Role.AttnOutput, Constants.NORMED_BITS, Constants.RESIDUAL_BITS
            );
        }
        if (name == Graph.Q) return _projection(q, inputs, Commitments.Role.AttnQ, Commitments.Role.AttnQBias);
        if (name == Graph.K) return _projection(q, inputs, Commitments.Role.AttnK, Commitments.Role.AttnKBias);
        if (name == Graph.V) {
            // Transposed: each row is a number of a head.
            (q.row, q.column) = (q.column, q.row);
            return Operators.limitValue(_projection(q, inputs, Commitments.Role.AttnV, Commitments.Role.AttnVBias));
        }
        if (name == Graph.GATE) {
            return _linear(q, inputs, Graph.GATE, Commitments.Role.FfnGate, Constants.NORMED_BITS, Constants.INNER_BITS);
        }
        if (name == Graph.UP) {
            return _linear(q, inputs, Graph.GATE, Commitments.Role.FfnUp, Constants.NORMED_BITS, Constants.INNER_BITS);
        }
        if (name == Graph.DOWN) {
            return _linear(q, inputs, name, Commitments.Role.FfnDown, Constants.ACT_BITS, Constants.RESIDUAL_BITS);
        }
        return _linear(q, inputs, name, Commitments.Role.AttnOutput, Constants.INNER_BITS, Constants.RESIDUAL_BITS);
    }

    /// @dev Queries, keys or values of the normalised row.
    function _projection(
        IFamily.Question memory q,
        IReferee.Input[] calldata inputs,
        Commitments.Role role,
        Commitments.Role biasRole
    ) private view returns (int256) {
        if (Commitments.kind(q.pointer, q.step - 1, biasRole) == Commitments.ABSENT) {
            return _linear(q, inputs, Graph.Q, role, Constants.NORMED_BITS, Constants.INNER_BITS);
        }
        _expectInputs(inputs, 4);
        uint256 heads = role == Commitments.Role.AttnQ ? q.n.shape.heads : q.n.shape.kvHeads;
        (int256 bias,) = _vector(q, biasRole, heads * q.n.shape.headWidth, q.column, Constants.INNER_BITS, inputs[3]);
        return _biased(q, inputs, Graph.Q, role, Constants.NORMED_BITS, Constants.INNER_BITS, bias);
    }

    function _linear(
        IFamily.Question memory q,
        IReferee.Input[] calldata inputs,
        uint256 after_,
        Commitments.Role role,
        uint256 bits,
        uint256 toBits
    ) private view returns (int256) {
        _expectInputs(inputs, 3);
        return _biased(q, inputs, after_, role, bits, toBits, 0);
    }

    /// @dev Number `q.column` of the product of a matrix and row `q.row` of the mantissas before operator `after_`.
    function _biased(
        IFamily.Question memory q,
        IReferee.Input[] calldata inputs,
        uint256 after_,
        Commitments.Role role,
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
        int256 down = int256(Quants.bitsOf(kind) + bits) - int256(s + toBits);
        bool residual = toBits == Constants.RESIDUAL_BITS && q.step <= q.n.shape.layers;
        int256 most = residual ? Constants.LARGEST_RESIDUAL : Constants.INT32;
        return Operators.linear(Quants.dot(kind, mantissas, inputs[2].data), down, bias, most);
    }
}
