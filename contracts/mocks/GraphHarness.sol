// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IFamily} from "../interfaces/IFamily.sol";
import {Graph} from "../disputes/referee/Graph.sol";

/// @title Makes the layout of traces callable, for the tests that compare it with Python's.
contract GraphHarness {
    using Graph for Graph.Tensor;

    function steps(IFamily.Shape calldata m) external pure returns (uint256) {
        return Graph.steps(m);
    }

    function tensor(IFamily.Shape calldata m, uint256 step, uint256 index, uint256 positions)
        external
        pure
        returns (Graph.Tensor memory)
    {
        return Graph.tensor(m, step, Graph.named(m, step, index), positions);
    }

    function leafOf(
        IFamily.Shape calldata m,
        uint256 step,
        uint256 index,
        uint256 positions,
        uint256 row,
        uint256 column
    ) public pure returns (uint256) {
        return Graph.tensor(m, step, Graph.named(m, step, index), positions).leafOf(row, column);
    }

    /// @notice The leaf of each (row, column), or the error that it is refused with.
    function leavesOf(
        IFamily.Shape calldata m,
        uint256 step,
        uint256 index,
        uint256 positions,
        uint256[2][] calldata places
    ) external view returns (bytes[] memory found) {
        found = new bytes[](places.length);
        for (uint256 i; i < places.length; ++i) {
            try this.leafOf(m, step, index, positions, places[i][0], places[i][1]) returns (uint256 leaf) {
                found[i] = abi.encode(leaf);
            } catch (bytes memory reason) {
                found[i] = reason;
            }
        }
    }

    /// @notice Of each operator of a step, its index as found by its name.
    function indices(IFamily.Shape calldata m, uint256 step) external pure returns (uint256[] memory found) {
        found = new uint256[](Graph.operators(m, step));
        for (uint256 i; i < found.length; ++i) {
            found[i] = Graph.indexOf(m, step, Graph.named(m, step, i));
        }
    }

    /// @notice Rows, columns, bytes of a number, of a leaf, levels of a row and of the tree, of each operator of a step.
    function layouts(IFamily.Shape calldata m, uint256 step, uint256 positions)
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
