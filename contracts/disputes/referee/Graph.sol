// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IFamily} from "../../interfaces/IFamily.sol";
import {IReferee} from "../../interfaces/IReferee.sol";
import {MerkleTree} from "../../libraries/MerkleTree.sol";

/// @title Which tensors a forward pass over p positions makes, in which order and layout.
/// @notice Arithmetic on a model's registered numbers, so that no party supplies a program. The same in Python, with
/// the reasons: `oracle/disputes/graph.py`.
library Graph {
    /// @param numberBytes 1: a shift; 2: a mantissa, in lanes; 4 and 8: integers, big-endian.
    struct Tensor {
        uint256 rows;
        uint256 columns;
        uint256 numberBytes;
    }

    uint256 internal constant LEAF_NUMBERS = 256;

    // Operators of a layer with all norms, by their index there: the first of each group. Of each group, in order, as far
    // as it has them: the peaks of the input's leaves, the input's shift and mantissas, their sum of squares, its root,
    // the result, and the result's peaks, shift and mantissas.
    uint256 internal constant NORM = 0;
    uint256 internal constant Q = 9;
    uint256 internal constant K = 10;
    uint256 internal constant V = 11;
    uint256 internal constant Q_NORM = 12;
    uint256 internal constant Q_ROPE = 18;
    uint256 internal constant K_NORM = 22;
    uint256 internal constant K_ROPE = 28;
    uint256 internal constant SCORE = 32;
    uint256 internal constant SCORE_MAX = 33;
    uint256 internal constant SHARE = 34;
    uint256 internal constant SHARE_SUM = 35;
    uint256 internal constant CONTEXT = 36;
    uint256 internal constant ATTN_OUTPUT = 40;
    uint256 internal constant ATTN_POST_NORM = 41;
    uint256 internal constant ATTN_RESIDUAL = 47;
    uint256 internal constant FFN_NORM = 48;
    uint256 internal constant GATE = 57;
    uint256 internal constant UP = 58;
    uint256 internal constant ACT = 59;
    uint256 internal constant DOWN = 63;
    uint256 internal constant FFN_POST_NORM = 64;
    uint256 internal constant RESIDUAL = 70;
    uint256 private constant LAYER = 71;
    /// @dev Operators of a norm that some models lack: of queries, keys, and the outputs of blocks.
    uint256 private constant SOME_NORM = 6;

    /// @notice The output of the step before, where an operator's input is meant.
    uint256 internal constant BEFORE = type(uint256).max;

    // Operators of the end, after those of its norm.
    uint256 internal constant LOGITS = 9;
    uint256 internal constant LOGITS_PEAK = 10;
    uint256 internal constant LOGITS_MAX = 11;
    uint256 private constant END = 12;

    /// @notice Embedding, layers, end.
    function steps(IFamily.Shape memory m) internal pure returns (uint256) {
        return m.layers + 2;
    }

    /// @notice How many operators a step has; the last one's output is the step's.
    function operators(IFamily.Shape memory m, uint256 step) internal pure returns (uint256) {
        if (step >= steps(m)) revert IReferee.NoSuchStep(step, steps(m));
        if (step == 0) return 1;
        if (step > m.layers) return END;
        return LAYER - (m.headNorms ? 0 : 2 * SOME_NORM) - (m.isGemma ? 0 : 2 * SOME_NORM);
    }

    /// @notice What operator `index` of `step` is called in a layer with all norms.
    /// @dev Without some of them their operators are missing: once before each rotation, once before each sum.
    function named(IFamily.Shape memory m, uint256 step, uint256 index) internal pure returns (uint256 name) {
        uint256 count = operators(m, step);
        if (index >= count) revert IReferee.NoSuchOperator(index, count);
        name = index;
        if (step == 0 || step > m.layers) return name;
        if (!m.headNorms) {
            if (name >= Q_NORM) name += SOME_NORM;
            if (name >= K_NORM) name += SOME_NORM;
        }
        if (!m.isGemma) {
            if (name >= ATTN_POST_NORM) name += SOME_NORM;
            if (name >= FFN_POST_NORM) name += SOME_NORM;
        }
    }

    /// @notice The inverse of `named`, for operators that are there.
    function indexOf(IFamily.Shape memory m, uint256 step, uint256 name) internal pure returns (uint256 index) {
        index = name;
        if (step == 0 || step > m.layers) return index;
        if (!m.headNorms) {
            if (name > Q_NORM) index -= SOME_NORM;
            if (name > K_NORM) index -= SOME_NORM;
        }
        if (!m.isGemma) {
            if (name > ATTN_POST_NORM) index -= SOME_NORM;
            if (name > FFN_POST_NORM) index -= SOME_NORM;
        }
    }

    /// @notice The output of the operator called `name`.
    /// @param positions p: tokens of the pass.
    function tensor(IFamily.Shape memory m, uint256 step, uint256 name, uint256 positions)
        internal
        pure
        returns (Tensor memory)
    {
        if (positions == 0) revert IReferee.NoPositions();
        if (step == 0) return Tensor(positions, m.width, 8);
        if (step > m.layers) {
            if (name == LOGITS) return Tensor(1, m.vocabulary, 4);
            if (name == LOGITS_PEAK) return Tensor(1, _leaves(m.vocabulary), 8);
            return name == LOGITS_MAX ? Tensor(1, 1, 4) : _norm(name, 1, m.width, 1, 8);
        }
        return name < FFN_NORM ? _attention(m, name, positions) : _feedForward(m, name, positions);
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

    /// @notice Whether the tree has numbers in leaf `leaf`: rows are filled up to powers of two, and so is their number.
    function holds(Tensor memory t, uint256 leaf) internal pure returns (bool) {
        uint256 levels = rowDepth(t);
        return leaf >> levels < t.rows && (leaf & ((1 << levels) - 1)) * leafNumbers(t) < t.columns;
    }

    /// @notice Row and column of the first number of a leaf.
    function position(Tensor memory t, uint256 leaf) internal pure returns (uint256 row, uint256 column) {
        uint256 levels = rowDepth(t);
        return (leaf >> levels, (leaf & ((1 << levels) - 1)) * leafNumbers(t));
    }

    /// @notice Reverts unless the tensor has a number there. Whatever addresses a number or a row is checked here.
    function check(Tensor memory t, uint256 row, uint256 column) internal pure {
        if (row >= t.rows || column >= t.columns) revert IReferee.NoSuchNumber(row, column, t.rows, t.columns);
    }

    /// @notice The leaf with a number.
    function leafOf(Tensor memory t, uint256 row, uint256 column) internal pure returns (uint256) {
        check(t, row, column);
        return (row << rowDepth(t)) + column / leafNumbers(t);
    }

    function _attention(IFamily.Shape memory m, uint256 name, uint256 p) private pure returns (Tensor memory) {
        uint256 queries = m.heads * m.headWidth;
        uint256 keys = m.kvHeads * m.headWidth;
        if (name < Q) return _norm(name, p, m.width, 1, 8);
        if (name == Q) return Tensor(p, queries, 4);
        if (name == K) return Tensor(p, keys, 4);
        if (name == V) return Tensor(keys, p, 4);
        if (name < Q_ROPE) return _norm(name - Q_NORM, p * m.heads, m.headWidth, m.heads, 4);
        if (name < K_NORM) return _quantized(name - Q_ROPE, p * m.heads, m.headWidth, m.heads);
        if (name < K_ROPE) return _norm(name - K_NORM, p * m.kvHeads, m.headWidth, m.kvHeads, 4);
        if (name < SCORE) return _quantized(name - K_ROPE, p * m.kvHeads, m.headWidth, m.kvHeads);
        // Position by position and whole leaves, so that the tree of a pass is the beginning of longer passes' trees.
        if (name == SCORE || name == SHARE) return Tensor(p * m.heads, _leaves(p) * LEAF_NUMBERS, 4);
        if (name == SCORE_MAX) return Tensor(p, m.heads, 4);
        if (name == SHARE_SUM) return Tensor(p, m.heads, 8);
        if (name < ATTN_OUTPUT) return _quantized(name - CONTEXT, p, queries, 1);
        if (name < ATTN_POST_NORM || name == ATTN_RESIDUAL) return Tensor(p, m.width, 8);
        return _norm(name - ATTN_POST_NORM, p, m.width, 1, 8);
    }

    function _feedForward(IFamily.Shape memory m, uint256 name, uint256 p) private pure returns (Tensor memory) {
        if (name < GATE) return _norm(name - FFN_NORM, p, m.width, 1, 8);
        if (name < ACT) return Tensor(p, m.hidden, 4);
        if (name == ACT) return Tensor(p, m.hidden, 8);
        if (name < DOWN) return _quantized(name - ACT, p, m.hidden, 1);
        if (name < FFN_POST_NORM || name == RESIDUAL) return Tensor(p, m.width, 8);
        return _norm(name - FFN_POST_NORM, p, m.width, 1, 8);
    }

    /// @dev Peaks, shift and mantissas of the input, sum, root, then the normalised row and its peaks, shift, mantissas.
    /// Rows of the residual stream, normalised or not, have numbers of 8 bytes: 32 bits saturated for real models.
    function _norm(uint256 k, uint256 rows, uint256 columns, uint256 perRow, uint256 numberBytes)
        private
        pure
        returns (Tensor memory)
    {
        if (k < 3) return _quantized(k + 1, rows, columns, perRow);
        if (k < 5) return Tensor(rows / perRow, perRow, 8);
        if (k == 5) return Tensor(rows, columns, numberBytes);
        return _quantized(k - 5, rows, columns, perRow);
    }

    /// @dev A row of 32-bit numbers, the peaks of its leaves, its shift, its mantissas.
    function _quantized(uint256 k, uint256 rows, uint256 columns, uint256 perRow) private pure returns (Tensor memory) {
        if (k == 0) return Tensor(rows, columns, 4);
        if (k == 1) return Tensor(rows, _leaves(columns), 8);
        return k == 2 ? Tensor(rows / perRow, perRow, 1) : Tensor(rows, columns, 2);
    }

    function _leaves(uint256 columns) private pure returns (uint256) {
        return (columns + LEAF_NUMBERS - 1) / LEAF_NUMBERS;
    }
}
