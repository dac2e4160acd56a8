// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Patterns of answers: a table of states that bytes lead through (docs/answers.md).
/// @notice A table may be anything: what it does not have leads nowhere. `oracle/engines/answer_types.py`, `Pattern`,
/// reads the same.
library Patterns {
    /// @notice Bytes of an output that follows a pattern.
    uint256 internal constant MOST_TEXT = 8_192;

    /// @notice In place of a state.
    uint256 internal constant NOWHERE = type(uint256).max;

    /// @dev Before the states: how many (2), and how many shapes (1). A state: its shape (1) and its need (2). A shape: the
    /// place of its row (2).
    uint256 private constant HEAD_BYTES = 3;
    uint256 private constant STATE_BYTES = 3;
    uint256 private constant OFFSET_BYTES = 2;

    /// @notice Whether a table has a state, and all states and places of shapes.
    function isWhole(bytes calldata table) internal pure returns (bool) {
        if (table.length < HEAD_BYTES) return false;
        uint256 states = uint16(bytes2(table));
        uint256 heads = HEAD_BYTES + STATE_BYTES * states + OFFSET_BYTES * uint8(table[2]);
        return states != 0 && heads <= table.length;
    }

    /// @notice How many bytes a state needs at least, as the table says. table: whole. state: of the table.
    function need(bytes calldata table, uint256 state) internal pure returns (uint256 least) {
        assembly ("memory-safe") {
            least := shr(240, calldataload(add(table.offset, add(4, mul(3, state)))))
        }
    }

    /// @notice Where bytes lead from a state, or NOWHERE. table: whole. state: of the table.
    /// @dev A row's eight ranges stand in one word, the first on top: four bytes each, the lowest byte, the highest, and the
    /// target. So one subtraction compares a byte with eight bounds: bit 8 of each lane says whether it borrowed.
    // What leads nowhere ends the loop, so the next write is none after it.
    // slither-disable-start write-after-write
    function walk(bytes calldata table, uint256 state, bytes calldata text) internal pure returns (uint256) {
        assembly ("memory-safe") {
            /// The bit of each of the first `count` lanes whose range holds the byte that `spread` has in every lane.
            function holding(lanes, spread, count) -> bits {
                let low := and(shr(24, lanes), 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff)
                let high := and(shr(16, lanes), 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff)
                let carries := 0x0000010000000100000001000000010000000100000001000000010000000100
                bits := and(sub(or(high, carries), spread), sub(or(spread, carries), low))
                bits := and(and(bits, carries), not(shr(shl(5, count), not(0))))
            }

            let head := calldataload(table.offset)
            let states := shr(240, head)
            let shapes := byte(2, head)
            let ofStates := add(table.offset, 3)
            let ofShapes := add(ofStates, mul(3, states))
            let end := add(text.offset, text.length)
            for { let at := text.offset } lt(at, end) { at := add(at, 1) } {
                let shape := byte(0, calldataload(add(ofStates, mul(3, state))))
                let place := shr(240, calldataload(add(ofShapes, shl(1, shape))))
                let row := add(add(table.offset, place), 1)
                let count := 0
                if lt(place, table.length) { count := byte(0, calldataload(sub(row, 1))) }
                let isDead := or(gt(count, 16), gt(add(add(place, 1), shl(2, count)), table.length))
                if or(isDead, iszero(lt(shape, shapes))) {
                    state := not(0)
                    break
                }
                let spread :=
                    mul(byte(0, calldataload(at)), 0x0000000100000001000000010000000100000001000000010000000100000001)
                let lanes := calldataload(row)
                let bits := holding(lanes, spread, count)
                if and(iszero(bits), gt(count, 8)) {
                    lanes := calldataload(add(row, 0x20))
                    bits := holding(lanes, spread, sub(count, 8))
                }
                // Bits below the lane of the first range that holds the byte.
                let below := shl(7, gt(bits, 0xffffffffffffffffffffffffffffffff))
                below := or(below, shl(6, gt(shr(below, bits), 0xffffffffffffffff)))
                below := or(below, shl(5, gt(shr(below, bits), 0xffffffff)))
                let target := and(shr(below, lanes), 0xffff)
                if gt(target, 0x7fff) { target := sub(add(state, target), 0x8000) }
                if or(iszero(bits), iszero(lt(target, states))) {
                    state := not(0)
                    break
                }
                state := target
            }
        }
        return state;
    }
    // slither-disable-end write-after-write
}
