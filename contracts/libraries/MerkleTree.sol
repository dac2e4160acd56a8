// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {LibBit} from "solady/utils/LibBit.sol";

/// @title The one kind of Merkle tree that disputes use: over weights, tables, vocabularies and traces.
/// @notice A leaf hashes as keccak256(0x00 || leaf), an inner node as keccak256(0x01 || left || right), so that neither
/// passes for the other. A tree of N leaves has the least depth that holds them; leaves beyond N hash as 32 zero bytes
/// do. N is not in the root: callers derive it from what they know, never from a party's word.
/// The same rules in Python: `oracle/merkle/tree.py`; vectors that both must agree with: tests/vectors/merkle.json.
library MerkleTree {
    /// @notice Thrown for a tree without leaves.
    /// @dev Build a tree over one leaf at least.
    error EmptyTree();

    /// @notice Thrown when the tree has no leaf of that index. No index stands for another leaf.
    /// @dev Name a leaf that the tree has.
    error IndexOutOfRange(uint256 index, uint256 count);

    /// @notice Thrown unless a proof has exactly one hash for each level.
    /// @dev Pass one hash for each level, from the leaf up.
    error WrongProofLength(uint256 expected, uint256 given);

    /// @notice Thrown when a proof leads to another root.
    /// @dev Show the leaf and proof of the tree with the root `expected`.
    error WrongRoot(bytes32 expected, bytes32 computed);

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
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore8(free, 1)
            let left := add(free, 1)
            let end := add(proof.offset, shl(5, proof.length))
            for { let at := proof.offset } lt(at, end) { at := add(at, 0x20) } {
                // A node of an odd index stands right of its sibling.
                let side := shl(5, and(index, 1))
                mstore(add(left, side), node)
                mstore(add(left, xor(side, 0x20)), calldataload(at))
                node := keccak256(free, 0x41)
                index := shr(1, index)
            }
        }
        if (node != root) revert WrongRoot(root, node);
    }

    /// @notice Root over neighbouring nodes, filled up to a power of two with missing leaves. Overwrites `nodes`.
    function rootOf(bytes32[] memory nodes) internal pure returns (bytes32 root) {
        if (nodes.length == 0) revert EmptyTree();
        bytes32 padding = empty(0);
        assembly ("memory-safe") {
            let first := add(nodes, 0x20)
            let free := mload(0x40)
            mstore8(free, 1)
            let left := add(free, 1)
            let right := add(free, 0x21)
            for { let width := mload(nodes) } gt(width, 1) {} {
                let end := add(first, shl(5, width))
                let to := first
                for { let from := first } lt(from, end) { from := add(from, 0x40) } {
                    mcopy(left, from, 0x40)
                    if eq(add(from, 0x20), end) { mstore(right, padding) }
                    mstore(to, keccak256(free, 0x41))
                    to := add(to, 0x20)
                }
                mstore(left, padding)
                mstore(right, padding)
                padding := keccak256(free, 0x41)
                width := shr(1, add(width, 1))
            }
            root := mload(first)
        }
    }
}
