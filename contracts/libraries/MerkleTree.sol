// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {LibBit} from "solady/utils/LibBit.sol";

/// @title The one kind of Merkle tree that disputes use: over weights, tables, vocabularies and traces.
/// @notice A leaf hashes as keccak256(0x00 || leaf), an inner node as keccak256(0x01 || left || right), so that neither
/// passes for the other. A tree of N leaves has the least depth that holds them; leaves beyond N hash as 32 zero bytes
/// do. N is not in the root: callers derive it from what they know, never from a party's word.
/// The same rules in Python: `oracle/disputes/merkle.py`; vectors that both must agree with: tests/vectors/merkle.json.
library MerkleTree {
    /// @notice Thrown when a tree without leaves is asked about.
    error EmptyTree();

    /// @notice Thrown when a leaf is asked for that the tree has not. No index stands for another leaf.
    error IndexOutOfRange(uint256 index, uint256 count);

    /// @notice Thrown when a proof has not exactly one hash for each level.
    error WrongProofLength(uint256 expected, uint256 given);

    /// @notice Thrown when a proof leads to another root.
    error WrongRoot(bytes32 expected, bytes32 computed);

    /// @notice Thrown when the number of opened nodes is not the one that was due.
    error WrongOpeningLength(uint256 expected, uint256 given);

    /// @notice Thrown when a node over missing leaves alone is not what such nodes are.
    error PaddingNotEmpty(uint256 child);

    function hashLeaf(bytes calldata leaf) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore8(free, 0)
            calldatacopy(add(free, 1), leaf.offset, leaf.length)
            hash := keccak256(free, add(leaf.length, 1))
        }
    }

    function hashNode(bytes32 left, bytes32 right) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore8(free, 1)
            mstore(add(free, 1), left)
            mstore(add(free, 0x21), right)
            hash := keccak256(free, 0x41)
        }
    }

    /// @notice Levels above the leaves of a tree of `count` leaves.
    function depth(uint256 count) internal pure returns (uint256) {
        if (count == 0) revert EmptyTree();
        return count == 1 ? 0 : LibBit.fls(count - 1) + 1;
    }

    /// @notice Node `level` steps above leaves that are all missing.
    function empty(uint256 level) internal pure returns (bytes32 node) {
        node = keccak256(new bytes(33));
        for (; level != 0; --level) {
            node = hashNode(node, node);
        }
    }

    /// @notice Reverts unless `leaf`, a hash, is leaf `index` of the tree of `count` leaves under `root`.
    function check(bytes32 root, uint256 count, uint256 index, bytes32 leaf, bytes32[] calldata proof) internal pure {
        uint256 levels = depth(count);
        if (index >= count) revert IndexOutOfRange(index, count);
        if (proof.length != levels) revert WrongProofLength(levels, proof.length);
        bytes32 node = leaf;
        for (uint256 level; level < levels; ++level) {
            node = (index >> level) & 1 == 1 ? hashNode(proof[level], node) : hashNode(node, proof[level]);
        }
        if (node != root) revert WrongRoot(root, node);
    }

    /// @notice Reverts unless `children` are all the nodes `down` levels below `node`.
    /// @param level how far the children stand above the leaves.
    /// @param present how many of them stand over any leaf; the others must be empty, or an honest party would find
    /// nothing to say about a wrong one.
    function checkOpening(bytes32 node, bytes32[] calldata children, uint256 down, uint256 level, uint256 present)
        internal
        pure
    {
        uint256 width = 1 << down;
        if (children.length != width) revert WrongOpeningLength(width, children.length);
        bytes32[] memory row = children;
        if (present < width) {
            bytes32 padding = empty(level);
            for (uint256 child = present; child < width; ++child) {
                if (row[child] != padding) revert PaddingNotEmpty(child);
            }
        }
        for (; width != 1; width /= 2) {
            for (uint256 i; i < width / 2; ++i) {
                row[i] = hashNode(row[2 * i], row[2 * i + 1]);
            }
        }
        if (row[0] != node) revert WrongRoot(node, row[0]);
    }
}
