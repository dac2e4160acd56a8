// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Where the piece of a text ends within which tokens merge (docs/text.md, "Tokens of a text").
/// @dev Units are well-formed UTF-8 sequences (Unicode, table 3-7), or else single bytes, of class OTHER.
library Cutter {
    uint256 internal constant GPT2 = 1;
    uint256 internal constant LLAMA3 = 2;
    uint256 internal constant QWEN2 = 3;
    uint256 internal constant SMOLLM = 4;

    uint256 private constant OTHER = 0;
    uint256 private constant LETTER = 1;
    uint256 private constant NUMBER = 2;
    uint256 private constant SPACE = 3;

    /// @dev Two bits for each byte below 0x80: `oracle/engines/exact/unicode_classes.py`, `ascii_classes`.
    uint256 private constant ASCII = 0x155555555555540015555555555554000aaaaa00000003000000000ffc0000;

    /// @dev Pages of 256 code points; a page's classes take 64 bytes.
    uint256 private constant PAGES = 0x1100;

    /// @notice Where the piece ends that begins at byte `start`; depends on nothing before it.
    /// @param stop end of the text. `start` < `stop` <= `text.length`.
    /// @param classes a contract whose code is `unicode_classes.table()`.
    function pieceEnd(bytes memory text, uint256 start, uint256 stop, uint256 cutter, address classes)
        internal
        view
        returns (uint256)
    {
        (uint256 class, uint256 next) = unit(text, start, stop, classes);
        uint256 first = _byte(text, start);
        bool modern = cutter == LLAMA3 || cutter == QWEN2;
        if (cutter == SMOLLM && class == NUMBER) return next;
        if (first == 0x27) {
            uint256 suffix = _suffix(text, next, stop, modern);
            if (suffix != 0) return next + suffix;
        }
        if (!modern) {
            uint256 from = first == 0x20 ? next : start;
            if (from < stop) {
                (uint256 follows, uint256 after_) = unit(text, from, stop, classes);
                bool belongs = follows != SPACE && !(follows == NUMBER && cutter == SMOLLM);
                if (belongs) return _run(text, after_, stop, follows, classes);
            }
            return _spacesEnd(text, start, stop, cutter == SMOLLM, classes);
        }
        bool newline = first == 0x0a || first == 0x0d;
        uint256 word = class == LETTER || class == NUMBER || newline ? start : next;
        if (word < stop) {
            (uint256 follows, uint256 after_) = unit(text, word, stop, classes);
            if (follows == LETTER) return _run(text, after_, stop, LETTER, classes);
        }
        if (class == NUMBER) return _numbersEnd(text, next, stop, cutter == LLAMA3 ? 2 : 0, classes);
        uint256 sign = first == 0x20 ? next : start;
        if (sign < stop) {
            (uint256 follows, uint256 after_) = unit(text, sign, stop, classes);
            if (follows == OTHER) {
                uint256 end = _run(text, after_, stop, OTHER, classes);
                while (end < stop && _isNewline(_byte(text, end))) ++end;
                return end;
            }
        }
        return _newlinesEnd(text, start, stop, classes);
    }

    /// @notice The class of the unit that begins at byte `place` < `stop`, and where it ends.
    function unit(bytes memory text, uint256 place, uint256 stop, address classes)
        internal
        view
        returns (uint256 class, uint256 next)
    {
        // Positions are below `stop`, which is a length in memory.
        unchecked {
            uint256 first = _byte(text, place);
            next = place + 1;
            if (first < 0x80) return ((ASCII >> (first << 1)) & 3, next);
            if (first < 0xc2 || first > 0xf4) return (OTHER, next);
            uint256 length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
            if (place + length > stop) return (OTHER, next);
            uint256 code = first & (0xff >> (length + 1));
            for (uint256 i = 1; i < length; ++i) {
                uint256 continued = _byte(text, place + i);
                if (continued & 0xc0 != 0x80) return (OTHER, next);
                code = (code << 6) | (continued & 0x3f);
            }
            bool overlong = code < (length == 3 ? 0x800 : length == 4 ? 0x10000 : 0x80);
            bool surrogate = code >> 11 == 0x1b;
            if (overlong || surrogate || code > 0x10ffff) return (OTHER, next);
            return (_class(code, classes), place + length);
        }
    }

    function _class(uint256 code, address classes) private view returns (uint256 class) {
        assembly ("memory-safe") {
            extcodecopy(classes, 0x00, shr(8, code), 1)
            let page := byte(0, mload(0x00))
            extcodecopy(classes, 0x00, add(PAGES, add(shl(6, page), and(shr(2, code), 63))), 1)
            class := and(shr(shl(1, and(code, 3)), byte(0, mload(0x00))), 3)
        }
    }

    /// @dev The length of s t m d re ve ll at `place`, after an apostrophe, or 0.
    function _suffix(bytes memory text, uint256 place, uint256 stop, bool anyCase) private pure returns (uint256) {
        if (place >= stop) return 0;
        uint256 first = _lower(_byte(text, place), anyCase);
        if (first == 0x73 || first == 0x74 || first == 0x6d || first == 0x64) return 1;
        if (place + 1 >= stop) return 0;
        uint256 pair = (first << 8) | _lower(_byte(text, place + 1), anyCase);
        return pair == 0x7265 || pair == 0x7665 || pair == 0x6c6c ? 2 : 0;
    }

    function _lower(uint256 letter, bool anyCase) private pure returns (uint256) {
        return anyCase && letter > 0x40 && letter < 0x5b ? letter + 32 : letter;
    }

    function _run(bytes memory text, uint256 place, uint256 stop, uint256 class, address classes)
        private
        view
        returns (uint256)
    {
        // As in `unit`.
        unchecked {
            while (place < stop) {
                uint256 letter = _byte(text, place);
                uint256 found = (ASCII >> (letter << 1)) & 3;
                uint256 next = place + 1;
                if (letter > 0x7f) (found, next) = unit(text, place, stop, classes);
                if (found != class) break;
                place = next;
            }
            return place;
        }
    }

    function _numbersEnd(bytes memory text, uint256 place, uint256 stop, uint256 most, address classes)
        private
        view
        returns (uint256)
    {
        for (; most != 0 && place < stop; --most) {
            (uint256 found, uint256 next) = unit(text, place, stop, classes);
            if (found != NUMBER) break;
            place = next;
        }
        return place;
    }

    /// @dev Up to and with the last newline among the spaces; without one, as `_spacesEnd`, in the same walk: a run of
    /// spaces may be the whole text.
    function _newlinesEnd(bytes memory text, uint256 start, uint256 stop, address classes)
        private
        view
        returns (uint256)
    {
        uint256 newline;
        uint256 last = start;
        uint256 place = start;
        while (place < stop) {
            (uint256 found, uint256 next) = unit(text, place, stop, classes);
            if (found != SPACE) {
                if (newline == 0 && last != start) place = last;
                break;
            }
            if (_isNewline(_byte(text, place))) newline = next;
            last = place;
            place = next;
        }
        return newline != 0 ? newline : place;
    }

    /// @dev All spaces but the last, when something follows and there are several. numbersEnd: a number is no follower.
    function _spacesEnd(bytes memory text, uint256 start, uint256 stop, bool numbersEnd, address classes)
        private
        view
        returns (uint256)
    {
        uint256 last = start;
        uint256 place = start;
        while (place < stop) {
            (uint256 found, uint256 next) = unit(text, place, stop, classes);
            if (found != SPACE) return last == start || (numbersEnd && found == NUMBER) ? place : last;
            last = place;
            place = next;
        }
        return place;
    }

    function _isNewline(uint256 letter) private pure returns (bool) {
        return letter == 0x0a || letter == 0x0d;
    }

    function _byte(bytes memory text, uint256 place) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := byte(0, mload(add(add(text, 0x20), place)))
        }
    }
}
