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
    /// @notice Thrown for a tensor type that the referee cannot read.
    /// @dev `didyma model add` lists the types; take a file in one of them.
    error UnknownType(uint256 kind);
    /// @notice Thrown when a row's bytes are not as many as its type and width make.
    /// @dev Show the whole row, and nothing else.
    error WrongLength(uint256 expected, uint256 given);

    /// @param q bytes of weight + offset, the first on top. @param first, second scales of the first and the last 16.
    /// @param low, high what is added to each of them.
    struct Group {
        uint256 q;
        uint256 offset;
        int256 first;
        int256 second;
        int256 low;
        int256 high;
    }

    uint256 internal constant F32 = 0;
    uint256 internal constant F16 = 1;
    uint256 internal constant Q4_0 = 2;
    uint256 internal constant Q4_1 = 3;
    uint256 internal constant Q5_0 = 6;
    uint256 internal constant Q5_1 = 7;
    uint256 internal constant Q8_0 = 8;
    uint256 internal constant Q2_K = 10;
    uint256 internal constant Q3_K = 11;
    uint256 internal constant Q4_K = 12;
    uint256 internal constant Q5_K = 13;
    uint256 internal constant Q6_K = 14;
    uint256 internal constant IQ4_NL = 20;
    uint256 internal constant IQ4_XS = 23;
    uint256 internal constant BF16 = 30;
    /// @notice Matrices of floats are committed as one of these plus their fraction bits beyond 24.
    uint256 internal constant BF16_MATRIX = 64;
    uint256 internal constant F32_MATRIX = 96;

    /// @dev 128 plus what the nibbles of IQ4_NL and IQ4_XS stand for.
    uint256 private constant CODES = 0x01182d3f4f5d6a76818d99a6b5c5d9f100000000000000000000000000000000;
    /// @dev Bit j % 8 in byte j.
    uint256 private constant EACH_BIT = 0x0102040810204080010204081020408001020408102040800102040810204080;
    uint256 private constant EACH_BYTE = 0x0101010101010101010101010101010101010101010101010101010101010101;
    uint256 private constant SLOTS = 0x0000000100000001000000010000000100000001000000010000000100000001;
    uint256 private constant LOW_BYTES = 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff;
    uint256 private constant LOW_HALVES = 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff;
    uint256 private constant NIBBLES = 0x0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f;
    uint256 private constant PAIRS = 0x0303030303030303030303030303030303030303030303030303030303030303;
    uint256 private constant SIGNS = 0x8080808080808080808080808080808080808080808080808080808080808080;

    /// @notice Sum over k of mantissa_k * weight_k.
    /// @param lanes activations, 64 bytes for each 32 columns.
    /// @param row the row's bytes as in the file; its scales must be finite.
    function dot(uint256 kind, bytes calldata lanes, bytes calldata row) internal pure returns (int256 sum) {
        if (kind == F16) return _f16(lanes, row);
        if (kind >= BF16_MATRIX) return _floats(kind, lanes, row);
        (uint256 columns, uint256 size) = _blockOf(kind);
        uint256 count = _blocks(lanes, row, columns, size);
        Group memory x;
        for (uint256 i; i < count; ++i) {
            for (uint256 g; g < columns / 32; ++g) {
                _read(x, kind, row, size * i, g);
                sum += _groupDot(x, lanes, 2 * columns * i + 64 * g);
            }
        }
    }

    function _groupDot(Group memory x, bytes calldata lanes, uint256 from) private pure returns (int256 sum) {
        if (x.first == x.second) {
            sum = x.first * _dot32(x.q, x.offset, lanes, from, type(uint256).max);
        } else {
            sum = x.first * _dot32(x.q, x.offset, lanes, from, type(uint256).max << 128) + x.second
                * _dot32(x.q, x.offset, lanes, from, type(uint256).max >> 128);
        }
        if (x.low == x.high) {
            if (x.low != 0) sum += x.low * _dot32(EACH_BYTE, 0, lanes, from, type(uint256).max);
        } else {
            sum += x.low * _dot32(EACH_BYTE, 0, lanes, from, type(uint256).max << 128) + x.high
            * _dot32(EACH_BYTE, 0, lanes, from, type(uint256).max >> 128);
        }
    }

    /// @notice Fraction bits of a matrix's weights.
    function bitsOf(uint256 kind) internal pure returns (uint256) {
        return kind >= BF16_MATRIX ? 24 + (kind & 31) : 24;
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
        if (kind == F32 || kind >= F32_MATRIX) return 4 * columns;
        if (kind == F16 || kind >= BF16_MATRIX) return 2 * columns;
        (uint256 numbers, uint256 size) = _blockOf(kind);
        return columns / numbers * size;
    }

    /// @dev Numbers and bytes of a block.
    function _blockOf(uint256 kind) private pure returns (uint256 numbers, uint256 size) {
        if (kind == Q4_0 || kind == IQ4_NL) return (32, 18);
        if (kind == Q4_1) return (32, 20);
        if (kind == Q5_0) return (32, 22);
        if (kind == Q5_1) return (32, 24);
        if (kind == Q8_0) return (32, 34);
        if (kind == Q2_K) return (256, 84);
        if (kind == Q3_K) return (256, 110);
        if (kind == Q4_K) return (256, 144);
        if (kind == Q5_K) return (256, 176);
        if (kind == Q6_K) return (256, 210);
        if (kind == IQ4_XS) return (256, 136);
        revert UnknownType(kind);
    }

    /// @notice Weight k of a row, in units of 2^-bitsOf(kind).
    function weight(uint256 kind, bytes calldata row, uint256 k) internal pure returns (int256) {
        if (kind == F16) return half(row, 2 * k);
        if (kind >= BF16_MATRIX) return _float(kind, row, k);
        (uint256 numbers, uint256 size) = _blockOf(kind);
        Group memory x;
        _read(x, kind, row, k / numbers * size, k % numbers / 32);
        int256 q = int256(x.q >> (248 - 8 * (k % 32)) & 0xff) - int256(x.offset);
        return k % 32 < 16 ? x.first * q + x.low : x.second * q + x.high;
    }

    /* BLOCKS */

    /// @dev 32 weights: group `g` of the block start `start`.
    function _read(Group memory x, uint256 kind, bytes calldata row, uint256 start, uint256 g) private pure {
        if (kind == Q4_K || kind == Q5_K) _readSixBits(x, kind, row, start, g);
        else if (kind == Q2_K || kind == Q3_K) _readPairs(x, kind, row, start, g);
        else if (kind == Q6_K) _readQ6K(x, row, start, g);
        else if (kind == IQ4_XS) _readIq4Xs(x, row, start, g);
        else _readLegacy(x, kind, row, start);
    }

    function _readLegacy(Group memory x, uint256 kind, bytes calldata row, uint256 start) private pure {
        x.first = x.second = half(row, start);
        if (kind == Q8_0) {
            (x.q, x.offset) = (_word(row, start + 2) ^ SIGNS, 128);
            return;
        }
        start += 2;
        if (kind == Q4_1 || kind == Q5_1) {
            x.low = x.high = half(row, start);
            start += 2;
        }
        uint256 fifth;
        if (kind == Q5_0 || kind == Q5_1) {
            uint256 four = _word(row, start);
            fifth = ((four >> 248) * (EACH_BYTE >> 192)) << 192 | (four >> 240 & 0xff) * (EACH_BYTE >> 192) << 128
                | (four >> 232 & 0xff) * (EACH_BYTE >> 192) << 64 | (four >> 224 & 0xff) * (EACH_BYTE >> 192);
            // A byte of 0 or one bit becomes 0 or 16.
            fifth = ((fifth & EACH_BIT) + (SIGNS - EACH_BYTE) & SIGNS) >> 3;
            start += 4;
        }
        uint256 q = _nibbles(_word(row, start));
        if (kind == IQ4_NL) (x.q, x.offset) = (_decoded(q), 128);
        else (x.q, x.offset) = (q | fifth, kind == Q4_0 ? 8 : kind == Q5_0 ? 16 : 0);
    }

    /// @dev Of sixteen bytes the low, then the high nibbles.
    function _nibbles(uint256 word) private pure returns (uint256) {
        return (word >> 128 << 128 | word >> 132) & NIBBLES;
    }

    function _decoded(uint256 nibbles) private pure returns (uint256 q) {
        assembly ("memory-safe") {
            for { let i := 0 } lt(i, 32) { i := add(i, 1) } { q := or(shl(8, q), byte(byte(i, nibbles), CODES)) }
        }
    }

    function _readSixBits(Group memory x, uint256 kind, bytes calldata row, uint256 start, uint256 g) private pure {
        (uint256 scale, uint256 minimum) = _sixBits(_word(row, start + 4), g);
        x.first = x.second = half(row, start) * int256(scale);
        x.low = x.high = -half(row, start + 2) * int256(minimum);
        uint256 nibbles = _word(row, start + (kind == Q4_K ? 16 : 48) + 32 * (g / 2));
        x.q = (g % 2 == 0 ? nibbles : nibbles >> 4) & NIBBLES;
        if (kind == Q5_K) x.q |= (_word(row, start + 16) >> g & EACH_BYTE) << 4;
    }

    /// @dev Twelve bytes at the top of `packed` hold eight scales and eight minima of six bits.
    function _sixBits(uint256 packed, uint256 g) private pure returns (uint256 scale, uint256 minimum) {
        uint256 a = uint8(bytes32(packed)[g % 4]);
        uint256 b = uint8(bytes32(packed)[4 + g % 4]);
        if (g < 4) return (a & 63, b & 63);
        uint256 c = uint8(bytes32(packed)[4 + g]);
        return ((c & 15) | (a >> 6 << 4), (c >> 4) | (b >> 6 << 4));
    }

    function _readPairs(Group memory x, uint256 kind, bytes calldata row, uint256 start, uint256 g) private pure {
        uint256 pairs = _word(row, start + (kind == Q2_K ? 16 : 32) + 32 * (g / 4));
        x.q = pairs >> (2 * (g % 4)) & PAIRS;
        if (kind == Q2_K) {
            uint256 packed = _word(row, start) << (16 * g);
            int256 d = half(row, start + 80);
            int256 least = -half(row, start + 82);
            (x.first, x.second) = (d * int256(packed >> 248 & 15), d * int256(packed >> 240 & 15));
            (x.low, x.high) = (least * int256(packed >> 252), least * int256(packed >> 244 & 15));
        } else {
            x.q |= (_word(row, start) >> g & EACH_BYTE) << 2;
            x.offset = 4;
            uint256 packed = _word(row, start + 96);
            int256 d = half(row, start + 108);
            (x.first, x.second) = (d * _scaleQ3K(packed, 2 * g), d * _scaleQ3K(packed, 2 * g + 1));
        }
    }

    /// @dev Of twelve bytes: low four bits in the nibbles of eight, upper two in the others.
    function _scaleQ3K(uint256 packed, uint256 i) private pure returns (int256) {
        uint256 low = uint8(bytes32(packed)[i % 8]) >> (4 * (i / 8)) & 15;
        uint256 high = uint8(bytes32(packed)[8 + i % 4]) >> (2 * (i / 4)) & 3;
        return int256(low | high << 4) - 32;
    }

    function _readQ6K(Group memory x, bytes calldata row, uint256 start, uint256 g) private pure {
        // 32 numbers: half g / 4 of the block, low or high nibbles of 32 of its 64 bytes.
        uint256 part = g % 4;
        uint256 low = _word(row, start + 64 * (g / 4) + 32 * (part % 2));
        uint256 high = _word(row, start + 128 + 32 * (g / 4));
        x.q = ((part < 2 ? low : low >> 4) & NIBBLES) | (((high >> (2 * part)) & PAIRS) << 4);
        x.offset = 32;
        uint256 scales = _word(row, start + 192) << (16 * g);
        int256 d = half(row, start + 208);
        (x.first, x.second) = (d * int8(uint8(scales >> 248)), d * int8(uint8(scales >> 240)));
    }

    function _readIq4Xs(Group memory x, bytes calldata row, uint256 start, uint256 g) private pure {
        uint256 head = _word(row, start);
        uint256 low = uint8(bytes32(head)[4 + g / 2]) >> (4 * (g % 2)) & 15;
        uint256 high = uint8(bytes32(head)[2 + g / 4]) >> (2 * (g % 4)) & 3;
        x.first = x.second = half(row, start) * (int256(low | high << 4) - 32);
        (x.q, x.offset) = (_decoded(_nibbles(_word(row, start + 8 + 16 * g))), 128);
    }

    function _float(uint256 kind, bytes calldata row, uint256 k) private pure returns (int256) {
        return fixedPoint(kind >= F32_MATRIX ? F32 : BF16, row, k, bitsOf(kind));
    }

    function _floats(uint256 kind, bytes calldata lanes, bytes calldata row) private pure returns (int256 sum) {
        (uint256 size, uint256 skip) = kind >= F32_MATRIX ? (4, 0) : (2, 16);
        uint256 count = _blocks(lanes, row, 1, size);
        uint256 bits = bitsOf(kind);
        uint256 whole = count / 32 * 32;
        // Magnitudes: of weights below 2^(24 + 254 + 55 - 150), of mantissas at most 2^15; row.length is below 2^32.
        unchecked {
            for (uint256 position; position < whole; position += 32) {
                uint256 first = _word(lanes, 2 * position);
                uint256 second = _word(lanes, 2 * position + 32);
                uint256 end = size * (position + 32);
                for (uint256 start = size * position; start < end; start += 4 * size) {
                    // The lowest slots of both words hold the mantissas of four numbers.
                    sum += _real(row, start, skip, bits) * _signed(first >> 16);
                    sum += _real(row, start + size, skip, bits) * _signed(first);
                    sum += _real(row, start + 2 * size, skip, bits) * _signed(second >> 16);
                    sum += _real(row, start + 3 * size, skip, bits) * _signed(second);
                    first >>= 32;
                    second >>= 32;
                }
            }
        }
        for (uint256 k = whole; k < count; ++k) {
            sum += _real(row, size * k, skip, bits) * mantissa(lanes, k);
        }
    }

    /// @notice Number k of an unquantized vector with `bits` fraction bits, to nearest, halves upward. Must be finite.
    function fixedPoint(uint256 kind, bytes calldata vector, uint256 k, uint256 bits) internal pure returns (int256) {
        if (kind == F16) return Fixed.shift(half(vector, 2 * k), 24 - int256(bits));
        if (kind != F32 && kind != BF16) revert UnknownType(kind);
        return kind == F32 ? _real(vector, 4 * k, 0, bits) : _real(vector, 2 * k, 16, bits);
    }

    /// @dev A float of four little-endian bytes (`skip` 0), or of the upper two of one (16), times 2^bits, rounded.
    function _real(bytes calldata data, uint256 position, uint256 skip, uint256 bits)
        private
        pure
        returns (int256 value)
    {
        assembly ("memory-safe") {
            let word := shr(skip, calldataload(add(data.offset, position)))
            // The sign and the exponent come last.
            let exponent := or(shl(1, and(byte(3, word), 0x7f)), shr(7, byte(2, word)))
            value := or(or(byte(0, word), shl(8, byte(1, word))), shl(16, and(byte(2, word), 0x7f)))
            switch exponent
            case 0 { exponent := 1 }
            default { value := or(value, 0x800000) }
            if shr(7, byte(3, word)) { value := sub(0, value) }
            let up := sub(add(exponent, bits), 150)
            switch slt(up, 0)
            case 0 { value := shl(up, value) }
            // Half upward: floor((floor(2v / 2^n) + 1) / 2), for n places to the right; not(up) is n - 1.
            default { value := sar(1, add(sar(not(up), value), 1)) }
        }
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
}
