// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Fixed} from "./Fixed.sol";

/// @title Dot products of a quantized activation row with one raw row of a GGUF matrix.
/// @notice Weights are integers in units of 2^-24 (docs/numerics.md, "Weights"); the block layouts are those of
/// ggml-common.h of ggml.
/// @dev Activations come in lanes, 64 bytes for 32 mantissas (`oracle/disputes/lanes.py`): mantissa 4i + j lies in the
/// 32-bit slot 7 - i (from the top) of word j / 2, in its upper half if j is even, plus 2^15. With the weights of a lane in
/// slots of their own, one multiplication of two words is a product of polynomials in 2^32 whose coefficient 7, the top
/// slot, is the sum of the lane's eight products: below 2^31, so that no slot spoils the next.
library Quants {
    error UnknownType(uint256 kind);
    error WrongLength(uint256 expected, uint256 given);

    uint256 internal constant F32 = 0;
    uint256 internal constant F16 = 1;
    uint256 internal constant Q4_0 = 2;
    uint256 internal constant Q8_0 = 8;
    uint256 internal constant Q4_K = 12;
    uint256 internal constant Q6_K = 14;

    uint256 private constant SLOTS = 0x0000000100000001000000010000000100000001000000010000000100000001;
    uint256 private constant LOW_BYTES = 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff;
    uint256 private constant LOW_HALVES = 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff;
    uint256 private constant NIBBLES = 0x0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f;
    uint256 private constant PAIRS = 0x0303030303030303030303030303030303030303030303030303030303030303;
    uint256 private constant SIGNS = 0x8080808080808080808080808080808080808080808080808080808080808080;

    /// @notice Sum over k of mantissa_k * weight_k.
    /// @param lanes activations, 64 bytes for each 32 columns.
    /// @param row the row's bytes as in the file; its scales must be finite.
    function dot(uint256 kind, bytes calldata lanes, bytes calldata row) internal pure returns (int256) {
        if (kind == Q8_0) return _q8_0(lanes, row);
        if (kind == Q4_0) return _q4_0(lanes, row);
        if (kind == Q4_K) return _q4_k(lanes, row);
        if (kind == Q6_K) return _q6_k(lanes, row);
        if (kind == F16) return _f16(lanes, row);
        revert UnknownType(kind);
    }

    /// @notice An fp16 number, two little-endian bytes at `position`, in units of 2^-24. Must be finite.
    function half(bytes calldata row, uint256 position) internal pure returns (int256 value) {
        assembly ("memory-safe") {
            let word := calldataload(add(row.offset, position))
            let low := byte(0, word)
            let high := byte(1, word)
            let exponent := and(shr(2, high), 31)
            value := or(low, shl(8, and(high, 3)))
            if exponent { value := shl(sub(exponent, 1), add(value, 1024)) }
            if shr(7, high) { value := sub(0, value) }
        }
    }

    /// @notice Bytes of `columns` weights in a file. Whole blocks only.
    function rowBytes(uint256 kind, uint256 columns) internal pure returns (uint256) {
        if (kind == F32) return 4 * columns;
        if (kind == F16) return 2 * columns;
        if (kind == Q8_0) return columns / 32 * 34;
        if (kind == Q4_0) return columns / 32 * 18;
        if (kind == Q4_K) return columns / 256 * 144;
        if (kind == Q6_K) return columns / 256 * 210;
        revert UnknownType(kind);
    }

    /// @notice Weight k of a row, in units of 2^-24.
    function weight(uint256 kind, bytes calldata row, uint256 k) internal pure returns (int256) {
        if (kind == F16) return half(row, 2 * k);
        if (kind == Q8_0) {
            uint256 block_ = k / 32 * 34;
            return half(row, block_) * int8(uint8(row[block_ + 2 + k % 32]));
        }
        if (kind == Q4_0) {
            uint256 block_ = k / 32 * 18;
            uint256 pair = uint8(row[block_ + 2 + k % 16]);
            return half(row, block_) * (int256(k % 32 < 16 ? pair & 15 : pair >> 4) - 8);
        }
        if (kind == Q4_K) {
            uint256 block_ = k / 256 * 144;
            uint256 g = k % 256 / 32;
            (uint256 scale, uint256 minimum) = _scalesQ4K(_word(row, block_ + 4), g);
            uint256 pair = uint8(row[block_ + 16 + 32 * (g / 2) + k % 32]);
            int256 q = int256(g % 2 == 0 ? pair & 15 : pair >> 4);
            return half(row, block_) * int256(scale) * q - half(row, block_ + 2) * int256(minimum);
        }
        if (kind == Q6_K) {
            uint256 block_ = k / 256 * 210;
            uint256 g = k % 256 / 32;
            uint256 low = uint8(row[block_ + 64 * (g / 4) + 32 * (g % 2) + k % 32]);
            uint256 high = uint8(row[block_ + 128 + 32 * (g / 4) + k % 32]) >> (2 * (g % 4)) & 3;
            int256 q = int256((g % 4 < 2 ? low & 15 : low >> 4) | high << 4) - 32;
            return half(row, block_ + 208) * int8(uint8(row[block_ + 192 + k % 256 / 16])) * q;
        }
        revert UnknownType(kind);
    }

    /// @notice Number k of an unquantized vector with `bits` fraction bits, to nearest, halves upward. Must be finite.
    function fixedPoint(uint256 kind, bytes calldata vector, uint256 k, uint256 bits) internal pure returns (int256) {
        if (kind == F16) return Fixed.shift(half(vector, 2 * k), 24 - int256(bits));
        if (kind != F32) revert UnknownType(kind);
        uint256 word = _word(vector, 4 * k);
        // Little-endian: the sign and the exponent come last.
        uint256 raw = word >> 248 | (word >> 240 & 0xff) << 8 | (word >> 232 & 0xff) << 16 | (word >> 224 & 0xff) << 24;
        uint256 exponent = raw >> 23 & 0xff;
        int256 value = int256(raw & 0x7fffff);
        if (exponent == 0) exponent = 1;
        else value += 0x800000;
        return Fixed.shift(raw >> 31 == 1 ? -value : value, 150 - int256(exponent) - int256(bits));
    }

    function _blocks(bytes calldata lanes, bytes calldata row, uint256 columns, uint256 size)
        private
        pure
        returns (uint256 count)
    {
        count = row.length / size;
        if (row.length != count * size) revert WrongLength(count * size, row.length);
        uint256 expected = (count * columns + 31) / 32 * 64;
        if (lanes.length != expected) revert WrongLength(expected, lanes.length);
    }

    function _q8_0(bytes calldata lanes, bytes calldata row) private pure returns (int256 sum) {
        uint256 count = _blocks(lanes, row, 32, 34);
        for (uint256 i; i < count; ++i) {
            sum += half(row, 34 * i) * _dot32(_word(row, 34 * i + 2) ^ SIGNS, 128, lanes, 64 * i, type(uint256).max);
        }
    }

    function _q4_0(bytes calldata lanes, bytes calldata row) private pure returns (int256 sum) {
        uint256 count = _blocks(lanes, row, 32, 18);
        for (uint256 i; i < count; ++i) {
            uint256 raw = _word(row, 18 * i + 2) >> 128;
            uint256 q = ((raw << 128) | (raw >> 4)) & NIBBLES;
            sum += half(row, 18 * i) * _dot32(q, 8, lanes, 64 * i, type(uint256).max);
        }
    }

    function _q4_k(bytes calldata lanes, bytes calldata row) private pure returns (int256 sum) {
        uint256 count = _blocks(lanes, row, 256, 144);
        for (uint256 i; i < count; ++i) {
            uint256 position = 144 * i;
            uint256 packed = _word(row, position + 4);
            int256 scaled;
            int256 least;
            for (uint256 g; g < 8; ++g) {
                uint256 nibbles = _word(row, position + 16 + 32 * (g / 2));
                uint256 q = (g % 2 == 0 ? nibbles : nibbles >> 4) & NIBBLES;
                (uint256 scale, uint256 minimum) = _scalesQ4K(packed, g);
                uint256 from = 512 * i + 64 * g;
                scaled += int256(scale) * _dot32(q, 0, lanes, from, type(uint256).max);
                least += int256(minimum) * _sum32(lanes, from);
            }
            sum += half(row, position) * scaled - half(row, position + 2) * least;
        }
    }

    /// @dev Twelve bytes at the top of `packed` hold eight scales and eight minima of six bits.
    function _scalesQ4K(uint256 packed, uint256 g) private pure returns (uint256 scale, uint256 minimum) {
        uint256 a = uint8(bytes32(packed)[g % 4]);
        uint256 b = uint8(bytes32(packed)[4 + g % 4]);
        if (g < 4) return (a & 63, b & 63);
        uint256 c = uint8(bytes32(packed)[4 + g]);
        return ((c & 15) | (a >> 6 << 4), (c >> 4) | (b >> 6 << 4));
    }

    function _q6_k(bytes calldata lanes, bytes calldata row) private pure returns (int256 sum) {
        uint256 count = _blocks(lanes, row, 256, 210);
        for (uint256 i; i < count; ++i) {
            uint256 position = 210 * i;
            uint256 scales = _word(row, position + 192);
            int256 scaled;
            for (uint256 g; g < 8; ++g) {
                // 32 numbers: half g / 4 of the block, low or high nibbles of 32 of its 64 bytes.
                uint256 part = g % 4;
                uint256 low = _word(row, position + 64 * (g / 4) + 32 * (part % 2));
                uint256 high = _word(row, position + 128 + 32 * (g / 4));
                uint256 q = ((part < 2 ? low : low >> 4) & NIBBLES) | (((high >> (2 * part)) & PAIRS) << 4);
                uint256 from = 512 * i + 64 * g;
                scaled += int256(int8(uint8(bytes32(scales)[2 * g])))
                * _dot32(q, 32, lanes, from, type(uint256).max << 128);
                scaled += int256(int8(uint8(bytes32(scales)[2 * g + 1])))
                * _dot32(q, 32, lanes, from, type(uint256).max >> 128);
            }
            sum += half(row, position + 208) * scaled;
        }
    }

    function _f16(bytes calldata lanes, bytes calldata row) private pure returns (int256 sum) {
        uint256 count = _blocks(lanes, row, 1, 2);
        uint256 whole = count / 32 * 32;
        for (uint256 position; position < whole; position += 32) {
            uint256 first = _word(lanes, 2 * position);
            uint256 second = _word(lanes, 2 * position + 32);
            for (uint256 k = position; k < position + 32; k += 4) {
                // The lowest slots of both words hold mantissas k to k + 3.
                sum += half(row, 2 * k) * _signed(first >> 16) + half(row, 2 * k + 2) * _signed(first)
                + half(row, 2 * k + 4) * _signed(second >> 16) + half(row, 2 * k + 6) * _signed(second);
                first >>= 32;
                second >>= 32;
            }
        }
        for (uint256 k = whole; k < count; ++k) {
            sum += half(row, 2 * k) * mantissa(lanes, k);
        }
    }

    function _signed(uint256 low) private pure returns (int256) {
        return int256(low & 0xffff) - 2 ** 15;
    }

    /// @notice Mantissa k of a row in lanes.
    function mantissa(bytes calldata lanes, uint256 k) internal pure returns (int256) {
        uint256 inBlock = k % 32;
        uint256 i = inBlock / 4;
        uint256 j = inBlock % 4;
        uint256 word = _word(lanes, k / 32 * 64 + 32 * (j / 2));
        // Slot 7 - i from the top is bits 32i to 32i + 31.
        return int256((word >> (32 * i + (j % 2 == 0 ? 16 : 0))) & 0xffff) - 2 ** 15;
    }

    /// @notice Sum of the products of two rows' mantissas.
    function product(bytes calldata x, bytes calldata y) internal pure returns (int256 sum) {
        if (x.length % 64 != 0) revert WrongLength(x.length / 64 * 64, x.length);
        if (y.length != x.length) revert WrongLength(x.length, y.length);
        assembly ("memory-safe") {
            for { let position := 0 } lt(position, x.length) { position := add(position, 32) } {
                let a := calldataload(add(x.offset, position))
                let b := calldataload(add(y.offset, position))
                for { let k := 0 } lt(k, 4) { k := add(k, 1) } {
                    sum := add(sum, mul(sub(and(a, 0xffff), 0x8000), sub(and(b, 0xffff), 0x8000)))
                    sum := add(sum, mul(sub(and(shr(16, a), 0xffff), 0x8000), sub(and(shr(16, b), 0xffff), 0x8000)))
                    sum := add(sum, mul(sub(and(shr(32, a), 0xffff), 0x8000), sub(and(shr(32, b), 0xffff), 0x8000)))
                    sum := add(sum, mul(sub(and(shr(48, a), 0xffff), 0x8000), sub(and(shr(48, b), 0xffff), 0x8000)))
                    a := shr(64, a)
                    b := shr(64, b)
                }
            }
        }
    }

    function _word(bytes calldata data, uint256 position) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(data.offset, position))
        }
    }

    /// @dev 32 products. weights: bytes of weight + offset, the first on top; mask: which of them count.
    function _dot32(uint256 weights, uint256 offset, bytes calldata lanes, uint256 position, uint256 mask)
        private
        pure
        returns (int256 sum)
    {
        assembly ("memory-safe") {
            // Weight 4i + j is byte j of slot i from the top; its mantissa's slot is i from the bottom.
            let ones := and(SLOTS, mask)
            let bytes_ := and(LOW_BYTES, mask)
            let less := mul(ones, offset)
            let first := calldataload(add(lanes.offset, position))
            let second := calldataload(add(lanes.offset, add(position, 32)))
            let middle := mul(SLOTS, 0x8000)
            let round := shl(223, 1)
            let p := mul(sub(and(shr(24, weights), bytes_), less), sub(and(shr(16, first), LOW_HALVES), middle))
            sum := sar(224, add(p, round))
            p := mul(sub(and(shr(16, weights), bytes_), less), sub(and(first, LOW_HALVES), middle))
            sum := add(sum, sar(224, add(p, round)))
            p := mul(sub(and(shr(8, weights), bytes_), less), sub(and(shr(16, second), LOW_HALVES), middle))
            sum := add(sum, sar(224, add(p, round)))
            p := mul(sub(and(weights, bytes_), less), sub(and(second, LOW_HALVES), middle))
            sum := add(sum, sar(224, add(p, round)))
        }
    }

    /// @dev Sum of 32 mantissas.
    function _sum32(bytes calldata lanes, uint256 position) private pure returns (int256) {
        return _dot32(SLOTS | SLOTS << 8 | SLOTS << 16 | SLOTS << 24, 0, lanes, position, type(uint256).max);
    }
}
