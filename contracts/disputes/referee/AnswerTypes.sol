// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Prompts} from "../../libraries/Prompts.sol";
import {Patterns} from "./Patterns.sol";

/// @title Types of answers: what may answer a typed prompt (docs/answers.md).
/// @notice Each typed prompt has one type, whatever its bytes: a choice among rows of token ids, a pattern of bytes, or
/// none, which the first stop token and an empty output answer. `oracle/engines/answer_types.py` reads the same.
library AnswerTypes {
    /// @dev Forms of types. Any other is malformed.
    bytes1 internal constant CHOICE = 0x01;
    bytes1 internal constant PATTERN = 0x02;
    uint256 private constant FORM = Prompts.KIND_BYTES + Prompts.TYPE_ROOT_BYTES;

    uint256 internal constant LEAST_ROWS = 2;
    uint256 internal constant MOST_ROWS = 16;
    uint256 internal constant MOST_IDS = 16;

    /// @notice What a type is read by. @param vocabularyRoot of the model. @param vocabulary how many tokens.
    /// @param stops stop tokens. @param limit output tokens that the request and the context allow.
    struct Frame {
        bytes32 vocabularyRoot;
        uint256 vocabulary;
        uint256[] stops;
        uint256 limit;
    }

    /// @notice Whether a typed prompt says that its type is a pattern, malformed or not: the output is what the answer's
    /// tokens spell.
    function isPattern(bytes calldata prompt) internal pure returns (bool) {
        return prompt.length > FORM && prompt[FORM] == PATTERN;
    }

    /// @notice The table of a typed prompt's pattern, which is whole; empty of a prompt of any other type.
    function patternOf(bytes calldata prompt, Frame memory f) internal pure returns (bytes calldata table) {
        table = _body(prompt, f, PATTERN);
        if (!Patterns.isWhole(table) || Patterns.need(table, 0) >= f.limit) return prompt[:0];
    }

    /// @notice Every answer that a typed prompt allows which is no pattern, each with the first stop token at its end. A
    /// malformed type's is that token alone.
    function answersOf(bytes calldata prompt, Frame memory f) internal pure returns (uint256[][] memory answers) {
        answers = _rows(prompt, f);
        if (answers.length == 0) {
            answers = new uint256[][](1);
            answers[0] = new uint256[](1);
            answers[0][0] = f.stops[0];
        }
    }

    /// @notice Whether `token` is what an answer goes on with that has the same first `step` tokens as `answer`.
    function competes(uint256[][] memory answers, uint256[] memory answer, uint256 step, uint256 token)
        internal
        pure
        returns (bool)
    {
        for (uint256 i; i < answers.length; ++i) {
            uint256[] memory other = answers[i];
            if (other.length <= step || other[step] != token) continue;
            uint256 same;
            while (same < step && other[same] == answer[same]) ++same;
            if (same == step) return true;
        }
        return false;
    }

    /// @dev The type; empty if the prompt ends before it, or it is of another form or for another vocabulary.
    function _body(bytes calldata prompt, Frame memory f, bytes1 form) private pure returns (bytes calldata) {
        uint256 end = Prompts.typeEnd(prompt);
        if (end > prompt.length || prompt[FORM] != form) return prompt[:0];
        if (bytes4(prompt[Prompts.KIND_BYTES:]) != bytes4(f.vocabularyRoot)) return prompt[:0];
        return prompt[Prompts.TYPE_HEADER_BYTES:end];
    }

    /// @dev The rows of a choice, each with the first stop token at its end; none of a malformed type.
    function _rows(bytes calldata prompt, Frame memory f) private pure returns (uint256[][] memory rows) {
        bytes calldata body = _body(prompt, f, CHOICE);
        uint256 count = body.length == 0 ? 0 : uint8(body[0]);
        if (count < LEAST_ROWS || count > MOST_ROWS) return rows;
        uint256[][] memory found = new uint256[][](count);
        bytes32[] memory hashes = new bytes32[](count);
        uint256 place = 1;
        for (uint256 i; i < count; ++i) {
            uint256 ids = place < body.length ? uint8(body[place++]) : 0;
            uint256 next = place + ids * Prompts.ID_BYTES;
            if (ids == 0 || ids > MOST_IDS || ids + 1 > f.limit || next > body.length) return rows;
            bytes calldata row = body[place:next];
            hashes[i] = keccak256(row);
            for (uint256 before; before < i; ++before) {
                if (hashes[before] == hashes[i]) return rows;
            }
            found[i] = _ids(row, f);
            if (found[i].length == 0) return rows;
            place = next;
        }
        return place == body.length ? found : rows;
    }

    /// @dev A row's ids and the first stop token; empty if one stops an answer or the vocabulary ends before it.
    function _ids(bytes calldata row, Frame memory f) private pure returns (uint256[] memory ids) {
        uint256 count = row.length / Prompts.ID_BYTES;
        ids = new uint256[](count + 1);
        for (uint256 k; k < count; ++k) {
            uint256 id = uint24(bytes3(row[k * Prompts.ID_BYTES:]));
            if (id >= f.vocabulary) return new uint256[](0);
            for (uint256 s; s < f.stops.length; ++s) {
                if (id == f.stops[s]) return new uint256[](0);
            }
            ids[k] = id;
        }
        ids[count] = f.stops[0];
    }
}
