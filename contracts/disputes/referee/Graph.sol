// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {MerkleTree} from "../../libraries/MerkleTree.sol";

/// @title Which tensors a forward pass over p positions makes, in which order and layout.
/// @notice Arithmetic on a model's registered numbers, so that no party supplies a program. The same in Python, with
/// the reasons: `oracle/disputes/trace.py`.
library Graph {
    /// @param headNorms whether queries and keys are normalised head by head.
    struct Model {
        bool headNorms;
        uint256 layers;
        uint256 width;
        uint256 hidden;
        uint256 heads;
        uint256 kvHeads;
        uint256 headWidth;
        uint256 vocabulary;
    }

    /// @param numberBytes 1: a shift; 2: a mantissa, in lanes; 4 and 8: integers, big-endian.
    struct Tensor {
        uint256 rows;
        uint256 columns;
        uint256 numberBytes;
    }

    /// @notice Thrown for a step beyond the end of the pass.
    error NoSuchStep(uint256 step, uint256 steps);

    /// @notice Thrown for an operator beyond the last of its step.
    error NoSuchOperator(uint256 operator, uint256 operators);

    /// @notice Thrown for a pass over no tokens.
    error NoPositions();

    uint256 private constant LEAF_NUMBERS = 256;
    uint256 private constant NORM = 7;

    // The first operator of each group, in a layer with head norms.
    uint256 private constant Q = 7;
    uint256 private constant V = 9;
    uint256 private constant Q_NORM = 10;
    uint256 private constant Q_ROPE = 15;
    uint256 private constant K_NORM = 18;
    uint256 private constant K_ROPE = 23;
    uint256 private constant SCORE = 26;
    uint256 private constant CONTEXT = 30;
    uint256 private constant ATTN_OUTPUT = 33;
    uint256 private constant FFN_NORM = 35;
    uint256 private constant GATE = 42;
    uint256 private constant ACT = 44;
    uint256 private constant DOWN = 47;
    uint256 private constant LAYER = 49;

    /// @notice Embedding, layers, end.
    function steps(Model memory m) internal pure returns (uint256) {
        return m.layers + 2;
    }

    /// @notice How many operators a step has; the last one's output is the step's.
    function operators(Model memory m, uint256 step) internal pure returns (uint256) {
        if (step >= steps(m)) revert NoSuchStep(step, steps(m));
        if (step == 0) return 1;
        if (step > m.layers) return NORM + 1;
        return m.headNorms ? LAYER : LAYER - 10;
    }

    /// @notice The output of operator `index` of `step`.
    /// @param positions p: tokens of the pass.
    function tensor(Model memory m, uint256 step, uint256 index, uint256 positions)
        internal
        pure
        returns (Tensor memory)
    {
        uint256 count = operators(m, step);
        if (index >= count) revert NoSuchOperator(index, count);
        if (positions == 0) revert NoPositions();
        if (step == 0) return Tensor(positions, m.width, 4);
        if (step > m.layers) return index == NORM ? Tensor(1, m.vocabulary, 4) : _norm(index, 1, m.width, 1);
        if (!m.headNorms && index >= Q_NORM) {
            // Without head norms their five operators are missing, once before each rotation.
            index += index < Q_NORM + 3 ? 5 : 10;
        }
        return index < FFN_NORM ? _attention(m, index, positions) : _feedForward(m, index, positions);
    }

    /// @notice Numbers in a leaf.
    function leafNumbers(Tensor memory t) internal pure returns (uint256) {
        return t.columns < LEAF_NUMBERS ? t.columns : LEAF_NUMBERS;
    }

    /// @notice Bytes of a leaf.
    function leafBytes(Tensor memory t) internal pure returns (uint256) {
        uint256 numbers = leafNumbers(t);
        return t.numberBytes == 2 ? (numbers + 31) / 32 * 64 : numbers * t.numberBytes;
    }

    /// @notice Levels from leaves to a row's subtree.
    function rowDepth(Tensor memory t) internal pure returns (uint256) {
        uint256 numbers = leafNumbers(t);
        return MerkleTree.depth((t.columns + numbers - 1) / numbers);
    }

    /// @notice Levels of the whole tree.
    function depth(Tensor memory t) internal pure returns (uint256) {
        return rowDepth(t) + MerkleTree.depth(t.rows);
    }

    function _attention(Model memory m, uint256 index, uint256 p) private pure returns (Tensor memory) {
        uint256 queries = m.heads * m.headWidth;
        uint256 keys = m.kvHeads * m.headWidth;
        if (index < Q) return _norm(index, p, m.width, 1);
        if (index == Q) return Tensor(p, queries, 4);
        if (index < V) return Tensor(p, keys, 4);
        if (index == V) return Tensor(keys, p, 4);
        if (index < Q_ROPE) return _norm(index - Q_NORM, p * m.heads, m.headWidth, m.heads);
        if (index < K_NORM) return _quantized(index - Q_ROPE, p * m.heads, m.headWidth, m.heads);
        if (index < K_ROPE) return _norm(index - K_NORM, p * m.kvHeads, m.headWidth, m.kvHeads);
        if (index < SCORE) return _quantized(index - K_ROPE, p * m.kvHeads, m.headWidth, m.kvHeads);
        if (index < CONTEXT) {
            // Scores, their maxima, shares, their sums.
            uint256 which = index - SCORE;
            return which % 2 == 0 ? Tensor(m.heads * p, p, 4) : Tensor(m.heads, p, which == 1 ? 4 : 8);
        }
        if (index < ATTN_OUTPUT) return _quantized(index - CONTEXT, p, queries, 1);
        return Tensor(p, m.width, 4);
    }

    function _feedForward(Model memory m, uint256 index, uint256 p) private pure returns (Tensor memory) {
        if (index < GATE) return _norm(index - FFN_NORM, p, m.width, 1);
        if (index < ACT) return Tensor(p, m.hidden, 4);
        if (index == ACT) return Tensor(p, m.hidden, 8);
        if (index < DOWN) return _quantized(index - ACT, p, m.hidden, 1);
        return Tensor(p, m.width, 4);
    }

    /// @dev Shift and mantissa of the input, sum, root, the normalised row, its shift and mantissa.
    function _norm(uint256 index, uint256 rows, uint256 columns, uint256 perRow) private pure returns (Tensor memory) {
        if (index < 2) return _quantized(index + 1, rows, columns, perRow);
        if (index < 4) return Tensor(rows / perRow, perRow, 8);
        return _quantized(index - 4, rows, columns, perRow);
    }

    /// @dev A row of 32-bit numbers, its shift, its mantissas.
    function _quantized(uint256 index, uint256 rows, uint256 columns, uint256 perRow)
        private
        pure
        returns (Tensor memory)
    {
        if (index == 0) return Tensor(rows, columns, 4);
        return index == 1 ? Tensor(rows / perRow, perRow, 1) : Tensor(rows, columns, 2);
    }
}
