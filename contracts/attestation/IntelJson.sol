// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {
    CONFIGURATION_NEEDED,
    OUT_OF_DATE,
    REVOKED,
    SW_HARDENING_NEEDED,
    UNLISTABLE_ADVISORIES
} from "../interfaces/IAttestationVerifier.sol";
import {DateTimeLib} from "solady/utils/DateTimeLib.sol";

/// @title Reading the JSON that Intel signs, in place.
/// @notice Intel's documents come without spaces and with their keys in one order, and the signature covers every byte; so
/// this is no JSON parser but a reader of exactly that text. A document in another form is refused. If Intel changes the
/// form, keys expire, which is safe.
/// @dev The cursor only moves forward. So `expectEnd`, with which every reader must finish, also refuses a document that
/// was read beyond its end, and nothing else has to look for the end.
library IntelJson {
    /// @param position where reading goes on, an absolute offset in calldata.
    struct Cursor {
        uint256 position;
        uint256 end;
    }

    /// @dev A one in each byte.
    uint256 private constant ONES = 0x0101010101010101010101010101010101010101010101010101010101010101;

    /// @notice Thrown when a document is not JSON with the fields that Intel writes, in Intel's order.
    /// @dev Post the document's bytes as Intel serves them: its signature covers them as they are.
    error UnexpectedJson(uint256 bytesLeft);

    function open(bytes calldata json) internal pure returns (Cursor memory c) {
        assembly ("memory-safe") {
            mstore(c, json.offset)
            mstore(add(c, 32), add(json.offset, json.length))
        }
    }

    /// @notice Reads over `text`, which must come next. At most 32 characters.
    function expect(Cursor memory c, bytes32 text) internal pure {
        if (!skip(c, text)) refuse(c);
    }

    /// @notice Reads over `text` if it comes next.
    function skip(Cursor memory c, bytes32 text) internal pure returns (bool found) {
        unchecked {
            // One for each byte of the text that is not zero. Adding to ASCII carries nothing into the next byte. Texts are
            // literals, so that most of this is done by the compiler.
            uint256 length = (((uint256(text) + 0x7f * ONES) >> 7) & ONES) * ONES >> 248;
            uint256 position = c.position;
            found = (_word(position) ^ uint256(text)) >> (256 - 8 * length) == 0;
            if (found) c.position = position + length;
        }
    }

    function expectEnd(Cursor memory c) internal pure {
        if (c.position != c.end) refuse(c);
    }

    function refuse(Cursor memory c) internal pure {
        revert UnexpectedJson(c.position < c.end ? c.end - c.position : 0);
    }

    /// @notice A decimal number of at most ten digits.
    function number(Cursor memory c) internal pure returns (uint256 value) {
        uint256 start = c.position;
        uint256 position = start;
        // A value that overflows has too many digits.
        unchecked {
            while (true) {
                uint256 digit = _character(position) ^ 0x30;
                if (digit > 9) break;
                value = 10 * value + digit;
                ++position;
            }
            // None at all wraps around.
            if (position - start - 1 > 9) refuse(c);
        }
        c.position = position;
    }

    /// @notice `length` bytes of hexadecimal, at most 16, in either case; in the lowest bytes of the result.
    function hexadecimal(Cursor memory c, uint256 length) internal pure returns (uint256 value) {
        uint256 position = c.position;
        unchecked {
            for (uint256 end = position + 2 * length; position < end; ++position) {
                uint256 character = _character(position);
                uint256 digit = character ^ 0x30;
                if (digit > 9) {
                    // 'A' to 'F' and 'a' to 'f' differ in one bit. What is below them wraps around.
                    digit = (character | 0x20) - 0x57;
                    if (digit < 10 || digit > 15) refuse(c);
                }
                value = value << 4 | digit;
            }
        }
        c.position = position;
    }

    /// @notice A time such as 2025-06-19T10:16:03Z and the quotation mark after it, in Unix seconds.
    function time(Cursor memory c) internal pure returns (uint40) {
        uint256 year = number(c);
        expect(c, "-");
        uint256 month = number(c);
        expect(c, "-");
        uint256 day = number(c);
        expect(c, "T");
        uint256 hour = number(c);
        expect(c, ":");
        uint256 minute = number(c);
        expect(c, ":");
        uint256 second = number(c);
        expect(c, 'Z"');
        if (!DateTimeLib.isSupportedDateTime(year, month, day, hour, minute, second) || year > 9999) {
            refuse(c);
        }
        return uint40(DateTimeLib.dateTimeToTimestamp(year, month, day, hour, minute, second));
    }

    /// @notice The tail of a TCB level: status, and advisories if there are any; as bytes of `TcbLevels`. Its date is for
    /// people.
    function verdict(Cursor memory c) internal pure returns (uint8 flags, uint128 advisories) {
        expect(c, ',"tcbDate":"');
        time(c);
        expect(c, ',"tcbStatus":"');
        flags = _status(c);
        if (skip(c, ',"advisoryIDs":[')) advisories = _advisories(c);
        expect(c, "}");
    }

    /// @notice Sixteen TCB components, the first in the highest byte.
    function components(Cursor memory c) internal pure returns (uint128 svns) {
        expect(c, '[{"svn":');
        for (uint256 left = 15;; left--) {
            uint256 svn = number(c);
            if (svn > 255) refuse(c);
            svns = svns << 8 | uint128(svn);
            // Some components name their category and type, which are for people.
            if (!skip(c, "}")) _skipPast(c, "}");
            if (left == 0) break;
            expect(c, ',{"svn":');
        }
        expect(c, "]");
    }

    function _status(Cursor memory c) private pure returns (uint8) {
        if (skip(c, 'UpToDate"')) return 0;
        if (skip(c, 'SWHardeningNeeded"')) return SW_HARDENING_NEEDED;
        if (skip(c, 'ConfigurationNeeded"')) return CONFIGURATION_NEEDED;
        if (skip(c, 'OutOfDate"')) return OUT_OF_DATE;
        if (skip(c, 'OutOfDateConfigurationNeeded"')) return OUT_OF_DATE | CONFIGURATION_NEEDED;
        if (skip(c, 'Revoked"')) return REVOKED;
        expect(c, "ConfigurationAndSWHardening");
        expect(c, 'Needed"');
        return CONFIGURATION_NEEDED | SW_HARDENING_NEEDED;
    }

    /// @dev Strings like "INTEL-SA-00615", eight at most; with any other the list cannot be accepted by a policy.
    function _advisories(Cursor memory c) private pure returns (uint128 list) {
        if (skip(c, "]")) return 0;
        for (uint256 count = 1;; count++) {
            if (count > 8 || !skip(c, '"INTEL-SA-')) break;
            uint256 advisory = number(c);
            if (advisory == 0 || advisory > 0xfffe || !skip(c, '"')) break;
            list = list << 16 | uint128(advisory);
            if (skip(c, "]")) return list;
            expect(c, ",");
        }
        _skipPast(c, "]");
        return UNLISTABLE_ADVISORIES;
    }

    /// @dev Reads over everything up to and including the next `mark`.
    function _skipPast(Cursor memory c, bytes1 mark) private pure {
        uint256 position = c.position;
        uint256 pattern = uint8(mark) * ONES;
        while (true) {
            // The highest bit of each byte that equals the mark, and of no other (Hacker's Delight, 6-1).
            uint256 low = 0x7f * ONES;
            uint256 different = _word(position) ^ pattern;
            uint256 hits = ~(((different & low) + low) | different | low);
            if (hits != 0) {
                uint256 leading;
                assembly ("memory-safe") {
                    leading := clz(hits)
                }
                c.position = position + leading / 8 + 1;
                return;
            }
            position += 32;
            // Behind calldata are zeros without end.
            if (position > c.end) refuse(c);
        }
    }

    function _character(uint256 position) private pure returns (uint256) {
        return _word(position) >> 248;
    }

    function _word(uint256 position) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := calldataload(position)
        }
    }
}
