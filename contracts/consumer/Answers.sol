// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Answers of a pattern, read strictly: what a dapp acts on is exactly of the form that it asked for.
/// @notice Every function takes any bytes, never reverts, and returns whether they are of the form, and what they say. Where
/// `isRead` is false the value is zero or empty. `didyma type` makes patterns of these forms.
library Answers {
    uint256 private constant SECONDS_PER_DAY = 86_400;

    /// @dev The longest number read: 2^255 has so many digits.
    uint256 private constant MOST_DIGITS = 77;

    /// @notice A decimal integer from `low` to `high`, both included: a minus sign or none, then digits without a leading
    /// zero. There is no "-0".
    function integer(bytes memory text, int256 low, int256 high) internal pure returns (bool isRead, int256 value) {
        bool isNegative = text.length > 0 && text[0] == "-";
        uint256 start = isNegative ? 1 : 0;
        uint256 digits = text.length - start;
        if (digits == 0 || digits > MOST_DIGITS) return (false, 0);
        if (text[start] == "0" && text.length > 1) return (false, 0);

        uint256 size;
        (isRead, size) = _digits(text, start, text.length);
        // 10^77 is below 2^256; a size beyond int256 has no negation below.
        if (!isRead || size > uint256(type(int256).max) + (isNegative ? 1 : 0)) return (false, 0);
        unchecked {
            value = isNegative ? -int256(size) : int256(size);
        }
        if (value < low || value > high) return (false, 0);
    }

    /// @notice A date as YYYY-MM-DD, from 1970 on, by the Gregorian calendar.
    /// @return isRead whether there is such a day.
    /// @return time Unix time in seconds at which the day begins, UTC.
    function date(bytes memory text) internal pure returns (bool isRead, uint256 time) {
        if (text.length != 10 || text[4] != "-" || text[7] != "-") return (false, 0);
        (bool isYear, uint256 year) = _digits(text, 0, 4);
        (bool isMonth, uint256 month) = _digits(text, 5, 7);
        (bool isDay, uint256 day) = _digits(text, 8, 10);
        if (!isYear || !isMonth || !isDay || year < 1970 || month == 0 || month > 12) return (false, 0);
        if (day == 0 || day > _daysIn(year, month)) return (false, 0);
        return (true, _daysSince1970(year, month, day) * SECONDS_PER_DAY);
    }

    /// @notice An address: "0x" and 40 hexadecimal digits, either all in lower case or with the right checksum of EIP-55.
    function account(bytes memory text) internal pure returns (bool isRead, address value) {
        if (text.length != 42 || text[0] != "0" || text[1] != "x") return (false, address(0));
        bytes memory lower = new bytes(40);
        bool hasUpper;
        uint256 number;
        for (uint256 i; i < 40; ++i) {
            bytes1 letter = text[2 + i];
            if (letter >= "A" && letter <= "F") {
                letter |= 0x20;
                hasUpper = true;
            }
            bool isLetter = letter >= "a" && letter <= "f";
            if (!isLetter && (letter < "0" || letter > "9")) return (false, address(0));
            number = number << 4 | (uint8(letter) - (isLetter ? 87 : 48));
            lower[i] = letter;
        }
        if (hasUpper) {
            uint256 hash = uint256(keccak256(lower));
            for (uint256 i; i < 40; ++i) {
                bool isUpper = hash >> (252 - 4 * i) & 0xf > 7 && lower[i] >= "a";
                if ((text[2 + i] != lower[i]) != isUpper) return (false, address(0));
            }
        }
        return (true, address(uint160(number)));
    }

    /// @notice The fields of a JSON object that has exactly these names, in this order, and no space between anything:
    /// `{"label":"spam","score":-3}`.
    /// @param names without quotation marks; a name in the answer has no escapes.
    /// @return isRead whether it is such an object, each value a string without escapes, an integer, true, false or null.
    /// @return values as they stand there; `quoted` reads a string, `integer` a number. All empty if not read.
    function fields(bytes memory json, bytes[] memory names)
        internal
        pure
        returns (bool isRead, bytes[] memory values)
    {
        values = new bytes[](names.length);
        bytes memory between = "{";
        uint256 place;
        for (uint256 i; i < names.length; ++i) {
            bytes memory before = bytes.concat(between, '"', names[i], '":');
            if (!_standsAt(json, place, before)) return (false, new bytes[](names.length));
            place += before.length;
            uint256 end = _valueEnd(json, place);
            if (end == 0) return (false, new bytes[](names.length));
            values[i] = _slice(json, place, end);
            place = end;
            between = ",";
        }
        bytes memory closing = bytes(names.length == 0 ? "{}" : "}");
        isRead = json.length == place + closing.length && _standsAt(json, place, closing);
        if (!isRead) values = new bytes[](names.length);
    }

    /// @notice What a JSON string without escapes says: the bytes between its quotation marks, none of them a quotation mark,
    /// a backslash or below a space. Whether they are UTF-8 is not looked at.
    function quoted(bytes memory value) internal pure returns (bool isRead, bytes memory text) {
        if (value.length < 2 || _stringEnd(value, 0) != value.length) return (false, "");
        return (true, _slice(value, 1, value.length - 1));
    }

    /* JSON */

    /// @dev Where the value that begins at `place` ends; 0 if none does.
    function _valueEnd(bytes memory json, uint256 place) private pure returns (uint256 end) {
        if (place >= json.length) return 0;
        if (json[place] == '"') return _stringEnd(json, place);
        end = place;
        while (end < json.length && json[end] != "," && json[end] != "}") ++end;
        bytes memory word = _slice(json, place, end);
        bytes32 hash = keccak256(word);
        if (hash == keccak256("true") || hash == keccak256("false") || hash == keccak256("null")) return end;
        (bool isNumber,) = integer(word, type(int256).min, type(int256).max);
        return isNumber ? end : 0;
    }

    /// @dev Where the string that begins at `place` ends; 0 if none does.
    function _stringEnd(bytes memory json, uint256 place) private pure returns (uint256) {
        if (json[place] != '"') return 0;
        for (uint256 i = place + 1; i < json.length; ++i) {
            if (json[i] == '"') return i + 1;
            if (json[i] == "\\" || json[i] < " ") return 0;
        }
        return 0;
    }

    function _standsAt(bytes memory whole, uint256 place, bytes memory part) private pure returns (bool) {
        if (whole.length < place + part.length) return false;
        return keccak256(_slice(whole, place, place + part.length)) == keccak256(part);
    }

    function _slice(bytes memory whole, uint256 from, uint256 to) private pure returns (bytes memory part) {
        part = new bytes(to - from);
        assembly ("memory-safe") {
            mcopy(add(part, 0x20), add(add(whole, 0x20), from), sub(to, from))
        }
    }

    /* NUMBERS */

    /// @dev The number that at most MOST_DIGITS decimal digits say, and whether all are digits.
    function _digits(bytes memory text, uint256 from, uint256 to) private pure returns (bool, uint256 number) {
        for (uint256 i = from; i < to; ++i) {
            if (text[i] < "0" || text[i] > "9") return (false, 0);
            number = 10 * number + (uint8(text[i]) - 48);
        }
        return (true, number);
    }

    function _daysIn(uint256 year, uint256 month) private pure returns (uint256) {
        if (month == 2) return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
        return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
    }

    /// @dev days_from_civil of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years begin in March.
    function _daysSince1970(uint256 year, uint256 month, uint256 day) private pure returns (uint256) {
        if (month <= 2) --year;
        uint256 dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        return 365 * year + year / 4 - year / 100 + year / 400 + dayOfYear - 719_468;
    }
}
