// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {DateTimeLib} from "solady/utils/DateTimeLib.sol";

/// @title Reading DER, the encoding of certificates, in place.
/// @notice Every element is read within the bounds of the one around it, with the shortest encoding of its length.
library Der {
    uint256 internal constant BOOLEAN = 0x01;
    uint256 internal constant INTEGER = 0x02;
    uint256 internal constant BIT_STRING = 0x03;
    uint256 internal constant OCTET_STRING = 0x04;
    uint256 internal constant OID = 0x06;
    uint256 internal constant UTC_TIME = 0x17;
    uint256 internal constant GENERALIZED_TIME = 0x18;
    uint256 internal constant SEQUENCE = 0x30;

    /// @notice Thrown when bytes are not DER as the parser expects it there.
    /// @dev Post the certificate or list as Intel serves it, unchanged.
    /// @param position offset of what is wrong.
    error BadDer(uint256 position);

    /// @notice The element at `position`, which must end by `end`. Its content is [start, stop).
    function read(bytes calldata data, uint256 position, uint256 end)
        internal
        pure
        returns (uint256 tag, uint256 start, uint256 stop)
    {
        if (position + 2 > end) revert BadDer(position);
        tag = uint8(data[position]);
        uint256 length = uint8(data[position + 1]);
        start = position + 2;
        if (length > 0x7f) {
            uint256 width = length - 0x80;
            if (width == 0 || width > 3 || start + width > end) revert BadDer(position);
            length = uint256(word(data, start) >> (256 - 8 * width));
            if (length < (width == 1 ? 0x80 : 1 << 8 * (width - 1))) revert BadDer(position);
            start += width;
        }
        stop = start + length;
        if (stop > end) revert BadDer(position);
    }

    /// @notice As `read`, of an element that must have this tag.
    function open(bytes calldata data, uint256 position, uint256 end, uint256 expected)
        internal
        pure
        returns (uint256 start, uint256 stop)
    {
        uint256 tag;
        (tag, start, stop) = read(data, position, end);
        if (tag != expected) revert BadDer(position);
    }

    /// @notice The natural number at `position`, which must be below 2^bits; and where the next element begins.
    function number(bytes calldata data, uint256 position, uint256 end, uint256 bits)
        internal
        pure
        returns (uint256 value, uint256 stop)
    {
        uint256 start;
        (start, stop) = open(data, position, end, INTEGER);
        uint256 length = stop - start;
        // A leading zero byte stands exactly where the number would otherwise read as negative.
        if (length == 0 || length > 33 || uint8(data[start]) > 0x7f) revert BadDer(position);
        if (length > 1 && data[start] == 0) {
            if (uint8(data[start + 1]) < 0x80) revert BadDer(position);
            start++;
            length--;
        }
        if (length > 32) revert BadDer(position);
        value = uint256(word(data, start) >> (256 - 8 * length));
        if (bits < 256 && value >> bits != 0) revert BadDer(position);
    }

    /// @notice The Unix time at `position`, and where the next element begins.
    function time(bytes calldata data, uint256 position, uint256 end)
        internal
        pure
        returns (uint40 value, uint256 stop)
    {
        (uint256 tag, uint256 start, uint256 stop_) = read(data, position, end);
        stop = stop_;
        uint256 year;
        if (tag == UTC_TIME && stop - start == 13) {
            year = _two(data, start);
            year += year < 50 ? 2000 : 1900;
            start += 2;
        } else if (tag == GENERALIZED_TIME && stop - start == 15) {
            year = 100 * _two(data, start) + _two(data, start + 2);
            start += 4;
        } else {
            revert BadDer(position);
        }
        (uint256 month, uint256 day) = (_two(data, start), _two(data, start + 2));
        (uint256 hour, uint256 minute, uint256 second) =
            (_two(data, start + 4), _two(data, start + 6), _two(data, start + 8));
        if (data[start + 10] != "Z" || !DateTimeLib.isSupportedDateTime(year, month, day, hour, minute, second)) {
            revert BadDer(position);
        }
        value = uint40(DateTimeLib.dateTimeToTimestamp(year, month, day, hour, minute, second));
    }

    /// @notice Whether the `length` bytes at `position` are exactly the first ones of `expected`.
    function has(bytes calldata data, uint256 position, uint256 length, bytes32 expected) internal pure returns (bool) {
        return position + length <= data.length && (word(data, position) ^ expected) >> (256 - 8 * length) == 0;
    }

    /// @dev Beyond the end of `data` come bytes that mean nothing: callers check their bounds.
    function word(bytes calldata data, uint256 position) internal pure returns (bytes32 value) {
        assembly ("memory-safe") {
            value := calldataload(add(data.offset, position))
        }
    }

    /// @dev Two decimal digits.
    function _two(bytes calldata data, uint256 position) private pure returns (uint256) {
        (uint256 tens, uint256 ones) = (uint8(data[position]) ^ 0x30, uint8(data[position + 1]) ^ 0x30);
        if (tens > 9 || ones > 9) revert BadDer(position);
        return 10 * tens + ones;
    }
}
