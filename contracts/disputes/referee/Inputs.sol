// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IFamily} from "../../interfaces/IFamily.sol";
import {IOracle} from "../../interfaces/IOracle.sol";
import {IReferee} from "../../interfaces/IReferee.sol";
import {MerkleTree} from "../../libraries/MerkleTree.sol";
import {Commitments} from "./Commitments.sol";
import {Fixed} from "./Fixed.sol";
import {Graph} from "./Graph.sol";
import {Quants} from "./Quants.sol";

/// @title What a party shows, read only where it hashes to a root that is agreed upon.
abstract contract Inputs {
    using Graph for Graph.Tensor;

    uint256 internal constant ENTRIES = 4;
    /// @dev Four entries of eight bytes.
    uint256 internal constant LEAF_BYTES = 32;

    /* TENSORS */

    function _tensor(IFamily.Question memory q, uint256 name) internal pure returns (Graph.Tensor memory) {
        if (name == Graph.BEFORE) return Graph.Tensor(q.positions, q.n.shape.width, 8);
        return Graph.tensor(q.n.shape, q.step, name, q.positions);
    }

    /// @notice The leaf that holds a number of operator `name`, or of the step before.
    function _leaf(IFamily.Question memory q, uint256 name, uint256 row, uint256 column, IReferee.Input calldata input)
        internal
        pure
        returns (bytes calldata)
    {
        Graph.Tensor memory t = _tensor(q, name);
        _checkRoot(q, name, input);
        if (input.data.length != t.leafBytes()) revert IReferee.WrongDataLength(t.leafBytes(), input.data.length);
        bytes32 hash = MerkleTree.hashLeaf(input.data);
        MerkleTree.check(input.root, 1 << t.depth(), t.leafOf(row, column), hash, input.proof);
        return input.data;
    }

    function _at(IFamily.Question memory q, uint256 name, uint256 row, uint256 column, IReferee.Input calldata input)
        internal
        pure
        returns (int256)
    {
        Graph.Tensor memory t = _tensor(q, name);
        return _number(t, _leaf(q, name, row, column, input), column % t.leafNumbers());
    }

    /// @notice The number that belongs to row `row`, where a tensor has one for each, some to a row of its own.
    function _ofRow(IFamily.Question memory q, uint256 name, uint256 row, IReferee.Input calldata input)
        internal
        pure
        returns (int256)
    {
        uint256 columns = _tensor(q, name).columns;
        return _at(q, name, row / columns, row % columns, input);
    }

    /// @notice All leaves of a row, one after the other.
    function _row(IFamily.Question memory q, uint256 name, uint256 row, IReferee.Input calldata input)
        internal
        pure
        returns (bytes calldata)
    {
        Graph.Tensor memory t = _tensor(q, name);
        t.check(row, 0);
        _checkRoot(q, name, input);
        uint256 size = t.leafBytes();
        uint256 leaves = (t.columns + t.leafNumbers() - 1) / t.leafNumbers();
        if (input.data.length != leaves * size) revert IReferee.WrongDataLength(leaves * size, input.data.length);
        bytes32[] memory nodes = new bytes32[](leaves);
        for (uint256 i; i < leaves; ++i) {
            nodes[i] = MerkleTree.hashLeaf(input.data[i * size:(i + 1) * size]);
        }
        uint256 rows = 1 << MerkleTree.depth(t.rows);
        MerkleTree.check(input.root, rows, row, MerkleTree.rootOf(nodes), input.proof);
        return input.data;
    }

    /// @notice A number of a leaf or a row.
    function _number(Graph.Tensor memory t, bytes calldata data, uint256 k) internal pure returns (int256 value) {
        if (t.numberBytes == 2) return Quants.mantissa(data, k);
        uint256 size = t.numberBytes;
        assembly ("memory-safe") {
            value := sar(sub(256, shl(3, size)), calldataload(add(data.offset, mul(size, k))))
        }
    }

    /// @notice The largest number, or magnitude, of [from, to).
    function _largest(Graph.Tensor memory t, bytes calldata data, uint256 from, uint256 to, bool magnitude)
        internal
        pure
        returns (int256 most)
    {
        most = type(int256).min;
        for (uint256 k = from; k < to; ++k) {
            int256 value = _number(t, data, k);
            if (magnitude && value < 0) value = -value;
            if (value > most) most = value;
        }
    }

    /// @notice Where a number of a row of `columns` stands in `of`, whose rows may hold several such rows, head after head.
    /// The end has one row: the last position's.
    function _within(IFamily.Question memory q, uint256 source, uint256 columns)
        internal
        pure
        returns (uint256 row, uint256 column)
    {
        uint256 split = _tensor(q, source).columns / columns;
        row = q.row / split;
        column = (q.row % split) * columns + q.column;
        if (source == Graph.BEFORE && q.step > q.n.shape.layers) row = q.positions - 1;
    }

    /// @dev Checks that `input.root` is the root that the node opened for this operator's output.
    function _checkRoot(IFamily.Question memory q, uint256 name, IReferee.Input calldata input) private pure {
        if (name == Graph.BEFORE) {
            MerkleTree.check(q.roots.steps, Graph.steps(q.n.shape), q.step - 1, input.root, input.listProof);
        } else {
            uint256 count = Graph.operators(q.n.shape, q.step);
            uint256 index = Graph.indexOf(q.n.shape, q.step, name);
            MerkleTree.check(q.roots.operators, count, index, input.root, input.listProof);
        }
    }

    /* MODEL */

    /// @notice Type and first leaf of the tensor that `role` stands for in this step.
    function _weights(IFamily.Question memory q, Commitments.Role role)
        internal
        view
        returns (uint256 kind, uint256 first)
    {
        if (q.step <= q.n.shape.layers) {
            kind = Commitments.kind(q.pointer, q.step - 1, role);
            return (kind, kind == Commitments.ABSENT ? 0 : Commitments.firstLeaf(q.pointer, q.n, q.step - 1, role));
        }
        first = q.n.shape.vocabulary + q.n.shape.layers * q.n.layerLeaves;
        if (role == Commitments.Role.AttnNorm) return (Commitments.kind(q.pointer, Commitments.OUTPUT_NORM), first);
        kind = Commitments.kind(q.pointer, Commitments.OUTPUT);
        if (kind == Commitments.ABSENT) return (Commitments.kind(q.pointer, Commitments.EMBEDDING), 0);
        first += Commitments.vectorLeaves(q.n.shape.width);
    }

    /// @notice Reverts unless `input` is leaf `leaf` of the weights, with that many numbers.
    function _checkWeight(
        IFamily.Numbers memory n,
        uint256 leaf,
        uint256 kind,
        uint256 columns,
        IReferee.Input calldata input
    ) internal pure {
        uint256 size = Quants.rowBytes(kind, columns);
        if (input.data.length != size) revert IReferee.WrongDataLength(size, input.data.length);
        MerkleTree.check(n.weightsRoot, n.weightLeaves, leaf, MerkleTree.hashLeaf(input.data), input.proof);
    }

    /// @notice Number k of an unquantized vector of `length` numbers, and its fraction bits: `bits`, or as many fewer as
    /// were committed with the vector's type.
    function _vector(
        IFamily.Question memory q,
        Commitments.Role role,
        uint256 length,
        uint256 k,
        uint256 bits,
        IReferee.Input calldata input
    ) internal view returns (int256, uint256) {
        if (k >= length) revert IReferee.NoSuchElement(k, length);
        (uint256 kind, uint256 first) = _weights(q, role);
        bits -= kind / Commitments.VECTOR_TYPES;
        kind %= Commitments.VECTOR_TYPES;
        uint256 start = k / Commitments.VECTOR_LEAF * Commitments.VECTOR_LEAF;
        uint256 columns = length - start < Commitments.VECTOR_LEAF ? length - start : Commitments.VECTOR_LEAF;
        _checkWeight(q.n, first + k / Commitments.VECTOR_LEAF, kind, columns, input);
        return (Quants.fixedPoint(kind, input.data, k % Commitments.VECTOR_LEAF, bits), bits);
    }

    /// @notice How many positions the step's layer sees; 0 for all.
    function _window(IFamily.Question memory q) internal pure returns (uint256) {
        uint256 period = q.n.period;
        return period != 0 && (q.step - 1) % period < period - 1 ? q.n.window : 0;
    }

    /// @notice Cosine and sine of a pair at a position. Where layers have windows, a leaf has theirs after the others.
    function _rotation(IFamily.Question memory q, uint256 position, uint256 pair, IReferee.Input calldata input)
        internal
        pure
        returns (int256 cosine, int256 sine)
    {
        uint256 pairs = q.n.ropeWidth / 2;
        if (pair >= pairs) revert IReferee.NoSuchElement(pair, pairs);
        uint256 size = q.n.window == 0 ? 8 * pairs : 16 * pairs;
        if (input.data.length != size) revert IReferee.WrongDataLength(size, input.data.length);
        bytes32 hash = MerkleTree.hashLeaf(input.data);
        MerkleTree.check(q.n.rotationsRoot, q.n.context, position, hash, input.proof);
        if (_window(q) != 0) pair += 2 * pairs;
        cosine = int32(uint32(bytes4(input.data[4 * pair:4 * pair + 4])));
        sine = int32(uint32(bytes4(input.data[4 * (pairs + pair):4 * (pairs + pair) + 4])));
    }

    /* TOKENS */

    /// @notice Id and end of token `index` of `count`.
    function _entry(IReferee.Tokens calldata tokens, uint256 count, uint256 index, IReferee.Input calldata input)
        internal
        pure
        returns (uint256 token, uint256 end)
    {
        return _entryOf(tokens.root, count, index, input.data, input.proof);
    }

    /// @notice The same of a leaf `data` under `root`. Of a prompt's token, `end` may have a flag in its top bit.
    function _entryOf(bytes32 root, uint256 count, uint256 index, bytes calldata data, bytes32[] calldata proof)
        internal
        pure
        returns (uint256 token, uint256 end)
    {
        if (index >= count) revert IReferee.NoSuchElement(index, count);
        if (data.length != LEAF_BYTES) revert IReferee.WrongDataLength(LEAF_BYTES, data.length);
        uint256 leaves = (count + ENTRIES - 1) / ENTRIES;
        MerkleTree.check(root, leaves, index / ENTRIES, MerkleTree.hashLeaf(data), proof);
        uint256 entry = uint64(uint256(bytes32(data)) >> (192 - 64 * (index % ENTRIES)));
        return (entry >> 32, uint32(entry));
    }

    function _checkTokens(IOracle.Answer calldata ans, IReferee.Tokens calldata tokens) internal pure {
        bytes32 computed = keccak256(abi.encode(tokens));
        if (computed != ans.tokensRoot) revert IReferee.WrongTokens(ans.tokensRoot, computed);
    }

    function _expectInputs(IReferee.Input[] calldata inputs, uint256 count) internal pure {
        if (inputs.length != count) revert IReferee.WrongInputCount(count, inputs.length);
    }
}
