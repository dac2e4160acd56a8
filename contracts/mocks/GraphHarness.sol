// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Graph} from "../disputes/referee/Graph.sol";

/// @title The layout of traces with doors, for the tests that compare it with Python's.
contract GraphHarness {
    using Graph for Graph.Tensor;

    function steps(Graph.Model calldata m) external pure returns (uint256) {
        return Graph.steps(m);
    }

    function tensor(Graph.Model calldata m, uint256 step, uint256 index, uint256 positions)
        external
        pure
        returns (Graph.Tensor memory)
    {
        return Graph.tensor(m, step, Graph.named(m, step, index), positions);
    }

    /// @notice Rows, columns, bytes of a number, of a leaf, levels of a row and of the tree, of each operator of a step.
    function layouts(Graph.Model calldata m, uint256 step, uint256 positions)
        external
        pure
        returns (uint256[6][] memory made)
    {
        made = new uint256[6][](Graph.operators(m, step));
        for (uint256 i; i < made.length; ++i) {
            Graph.Tensor memory t = Graph.tensor(m, step, Graph.named(m, step, i), positions);
            made[i] = [t.rows, t.columns, t.numberBytes, t.leafBytes(), t.rowDepth(), t.depth()];
        }
    }
}
