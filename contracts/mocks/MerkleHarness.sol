// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {MerkleTree} from "../libraries/MerkleTree.sol";

/// @title Makes the library of Merkle trees callable, for the tests that compare it with Python's.
contract MerkleHarness {
    function hashLeaf(bytes calldata leaf) external pure returns (bytes32) {
        return MerkleTree.hashLeaf(leaf);
    }

    function hashNode(bytes32 left, bytes32 right) external pure returns (bytes32) {
        return MerkleTree.hashNode(left, right);
    }

    function depth(uint256 count) external pure returns (uint256) {
        return MerkleTree.depth(count);
    }

    function empty(uint256 level) external pure returns (bytes32) {
        return MerkleTree.empty(level);
    }

    function check(bytes32 root, uint256 count, uint256 index, bytes32 leaf, bytes32[] calldata proof) external pure {
        MerkleTree.check(root, count, index, leaf, proof);
    }

    function rootOf(bytes32[] calldata nodes) external pure returns (bytes32) {
        return MerkleTree.rootOf(nodes);
    }
}
