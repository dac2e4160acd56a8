// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cutter} from "../disputes/referee/Cutter.sol";

/// @title Cutter's functions, for tests to call.
contract CutterHarness {
    address public immutable classes;

    constructor(address classes_) {
        classes = classes_;
    }

    /// @notice Where each piece of a text of `stop` bytes ends, and the gas that finding them took. text: with what follows.
    function cut(bytes memory text, uint256 stop, uint256 cutter)
        external
        view
        returns (uint256[] memory ends, uint256 gas)
    {
        ends = new uint256[](stop);
        uint256 count;
        uint256 before = gasleft();
        for (uint256 place; place < stop; ++count) {
            place = Cutter.pieceEnd(text, place, stop, cutter, classes);
            ends[count] = place;
        }
        gas = before - gasleft();
        assembly ("memory-safe") {
            mstore(ends, count)
        }
    }

    /// @notice The class of each unit of a text.
    function classesOf(bytes memory text) external view returns (bytes memory found) {
        found = new bytes(text.length);
        uint256 count;
        for (uint256 place; place < text.length; ++count) {
            uint256 class;
            (class, place) = Cutter.unit(text, place, text.length, classes);
            found[count] = bytes1(uint8(class));
        }
        assembly ("memory-safe") {
            mstore(found, count)
        }
    }
}
