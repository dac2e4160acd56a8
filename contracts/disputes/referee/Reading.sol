// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Prompts} from "../../libraries/Prompts.sol";

/// @title What a prompt says: bytes that its tokens spell, or three for each id (docs/text.md, "Reading").
library Reading {
    uint256 private constant HEADER = Prompts.PART_HEADER_BYTES;

    /// @notice Bytes of a reading that are read alike; tokens never cross its ends.
    struct Part {
        bool ofIds;
        uint256 start;
        uint256 end;
    }

    /// @notice The one reading of any bytes, and the part that holds byte `place` of it. A part that ends where it starts:
    /// the reading ends before `place`. A typed prompt says what stands behind its type.
    /// @param prefixed whether a space is put before a text. @param missing bit b: the byte b becomes `?`.
    function of_(bytes calldata prompt, bool prefixed, uint256 missing, uint256 place)
        internal
        pure
        returns (bytes memory data, Part memory part)
    {
        prompt = Prompts.proper(prompt);
        data = new bytes(prompt.length + prompt.length / HEADER + 1);
        uint256 length;
        bytes1 kind = prompt.length == 0 ? Prompts.TEXT : prompt[0];
        if (kind != Prompts.PARTS) {
            length = _append(data, 0, prompt.length == 0 ? prompt : prompt[1:], kind == Prompts.IDS, prefixed, missing);
            if (place < length) part = Part(kind == Prompts.IDS, 0, length);
        } else {
            for (uint256 next = 1; next + HEADER <= prompt.length;) {
                kind = prompt[next];
                uint256 from = next + HEADER;
                next = from + uint24(bytes3(prompt[next + 1:from]));
                bytes calldata said = prompt[from:next < prompt.length ? next : prompt.length];
                uint256 end = _append(data, length, said, kind == Prompts.IDS, prefixed, missing);
                if (place >= length && place < end) part = Part(kind == Prompts.IDS, length, end);
                length = end;
            }
        }
        assembly ("memory-safe") {
            mstore(data, length)
        }
    }

    /// @notice Whether a prompt says nothing: there is nothing between the wrapper's tokens.
    function isEmpty(bytes calldata prompt) internal pure returns (bool) {
        (bytes memory data,) = of_(prompt, false, 0, 0);
        return data.length == 0;
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
            assembly ("memory-safe") {
                let from := add(add(data, 0x20), length)
                for { let end := add(from, count) } lt(from, end) { from := add(from, 1) } {
                    if and(shr(byte(0, mload(from)), missing), 1) { mstore8(from, 0x3f) }
                }
            }
        }
        return length + count;
    }
}
