// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test} from "forge-std/Test.sol";

import {Reading} from "../../contracts/disputes/referee/Reading.sol";
import {Prompts} from "../../contracts/libraries/Prompts.sol";

/// @title What a dapp builds is read as what it meant, whoever wrote the words.
contract PromptsTest is Test {
    function read(bytes calldata prompt, uint256 place) external pure returns (bytes memory, Reading.Part memory) {
        return Reading.of_(prompt, false, 0, place);
    }

    function testFuzz_ofText__any_words__are_words(bytes memory words) public view {
        (bytes memory data, Reading.Part memory part) = this.read(Prompts.ofText(words), 0);
        assertEq(data, words);
        assertFalse(part.ofIds);
        assertEq(part.end, words.length);
    }

    function testFuzz_ofIds__any_bytes__are_ids(bytes memory ids) public view {
        (bytes memory data, Reading.Part memory part) = this.read(Prompts.ofIds(ids), 0);
        assertEq(data.length, ids.length - ids.length % 3);
        assertEq(part.ofIds, data.length != 0);
    }

    function testFuzz_parts__any_words_and_ids__stay_what_they_are(
        bytes memory first,
        bytes3[] memory named,
        bytes memory second,
        uint256 place
    ) public view {
        bytes memory ids;
        for (uint256 i; i < named.length && i < 8; ++i) {
            ids = bytes.concat(ids, named[i]);
        }
        bytes memory prompt =
            bytes.concat(Prompts.PARTS, Prompts.textPart(first), Prompts.idsPart(ids), Prompts.textPart(second));
        place = bound(place, 0, first.length + ids.length + second.length);
        (bytes memory data, Reading.Part memory part) = this.read(prompt, place);
        assertEq(data, bytes.concat(first, ids, second));
        assertEq(part.ofIds, place >= first.length && place < first.length + ids.length);
    }
}
