// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Prompts} from "../../libraries/Prompts.sol";

/// @title What a prompt says: bytes that its tokens spell, or three for each id (docs/text.md, "Reading").
library Reading {
    uint256 private constant IDS = 1;
    uint256 private constant PARTS = 2;
    uint256 private constant HEADER = 4;

    /// @notice Bytes of a reading that are read alike; tokens never cross its ends.
    struct Part {
        bool ofIds;
        uint256 start;
        uint256 end;
    }

    /// @notice The one reading of any bytes, and the part that holds byte `place` of it. A part that ends where it starts:
    /// the reading ends before `place`.
    /// @param prefixed whether a space is put before a text. @param missing bit b: the byte b becomes `?`.
    function of_(bytes calldata prompt, bool prefixed, uint256 missing, uint256 place)
        internal
        pure
        returns (bytes memory data, Part memory part)
    {
        data = new bytes(prompt.length + prompt.length / HEADER + 1);
        uint256 length;
        uint256 kind = prompt.length == 0 ? 0 : uint8(prompt[0]);
        if (kind != PARTS) {
            length = _append(data, 0, prompt.length == 0 ? prompt : prompt[1:], kind == IDS, prefixed, missing);
            if (place < length) part = Part(kind == IDS, 0, length);
        } else {
            for (uint256 next = 1; next + HEADER <= prompt.length;) {
                kind = uint8(prompt[next]);
                uint256 from = next + HEADER;
                next = from + uint24(bytes3(prompt[next + 1:from]));
                bytes calldata said = prompt[from:next < prompt.length ? next : prompt.length];
                uint256 end = _append(data, length, said, kind == IDS, prefixed, missing);
                if (place >= length && place < end) part = Part(kind == IDS, length, end);
                length = end;
            }
        }
        assembly ("memory-safe") {
            mstore(data, length)
        }
    }

    /// @dev Writes a part's reading; returns where it ends.
    function _append(bytes memory data, uint256 length, bytes calldata said, bool ofIds, bool prefixed, uint256 missing)
        private
        pure
        returns (uint256)
    {
        uint256 count = said.length;
        if (ofIds) {
            count -= count % Prompts.ID_BYTES;
        } else if (prefixed && count != 0) {
            data[length++] = " ";
        }
        assembly ("memory-safe") {
            calldatacopy(add(add(data, 0x20), length), said.offset, count)
        }
        if (!ofIds && missing != 0) {
            for (uint256 k; k < count; ++k) {
                if ((missing >> uint8(said[k])) & 1 == 1) data[length + k] = "?";
            }
        }
        return length + count;
    }
}
