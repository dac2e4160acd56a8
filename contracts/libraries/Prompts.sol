// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Prompts as all services read them, and whether a service's longest fits its model's context.
/// @notice A prompt's first byte is its kind (docs/text.md). Whoever builds the prompt chooses it;
/// what a stranger writes goes inside. A request whose prompt does not fit has no answer, and every seat in turn would be
/// fined for it. Arbiters therefore refuse services that would accept such a prompt. `oracle/engines/prompts.py` computes
/// the same.
library Prompts {
    /// @notice Kinds of prompts and of parts: words, token ids, and of prompts only, a row of parts, or a prompt of another
    /// kind behind the type of its answer. Any other is words.
    bytes1 internal constant TEXT = 0x00;
    bytes1 internal constant IDS = 0x01;
    bytes1 internal constant PARTS = 0x02;
    bytes1 internal constant TYPED = 0x03;

    /// @dev Before everything else: the kind. Before each of the parts: its kind, and its length.
    uint256 internal constant KIND_BYTES = 1;
    uint256 internal constant PART_HEADER_BYTES = 4;

    /// @dev Before a type: the kind, the first bytes of the root of the vocabulary that the type was made for, the type's
    /// form, and its length.
    uint256 internal constant TYPE_ROOT_BYTES = 4;
    uint256 internal constant TYPE_LENGTH_BYTES = 3;
    uint256 internal constant TYPE_HEADER_BYTES = KIND_BYTES + TYPE_ROOT_BYTES + 1 + TYPE_LENGTH_BYTES;

    /// @dev A token id in a prompt, big-endian; a rest of one or two bytes is ignored.
    uint256 internal constant ID_BYTES = 3;

    /// @notice So many bytes more than others a private prompt may have: what any prompt needs, sealed to sixteen keys
    /// (oracle/attestation/private.py). Sealed bytes are not read as tokens.
    uint256 internal constant SEAL_BYTES = 50 + 16 * 100 + 47 + 255;

    /// @notice Thrown when the longest prompt that a service takes may be, with its wrapper, so many tokens that the
    /// context has no room for an output.
    /// @dev Lower the service's `maxPromptBytes`; `didyma service create` says the largest that fits.
    error PromptMayNotFit(uint256 tokens, uint256 contextLength);

    /// @notice Thrown for a part whose length does not fit its header.
    /// @dev A part has 16 MiB at most, and a service's prompt far less.
    error PartTooLong(uint256 length);

    /* BUILDING */

    /// @notice The prompt that asks a text.
    function ofText(bytes memory text) internal pure returns (bytes memory) {
        return bytes.concat(TEXT, text);
    }

    /// @notice The prompt of token ids, three bytes each.
    function ofIds(bytes memory ids) internal pure returns (bytes memory) {
        return bytes.concat(IDS, ids);
    }

    /// @notice A part that is words. `bytes.concat(Prompts.PARTS, part, part)` is a prompt of two parts.
    function textPart(bytes memory text) internal pure returns (bytes memory) {
        return bytes.concat(TEXT, _length(text), text);
    }

    /// @notice A part that is token ids, three bytes each: a chat's markers, which no text can make.
    function idsPart(bytes memory ids) internal pure returns (bytes memory) {
        return bytes.concat(IDS, _length(ids), ids);
    }

    /// @notice A prompt whose answer has a type.
    /// @param answerType as `didyma type` makes it for a model's vocabulary: a constant of a dapp, never a stranger's bytes.
    /// @param prompt of any other kind.
    function ofTyped(bytes memory answerType, bytes memory prompt) internal pure returns (bytes memory) {
        return bytes.concat(TYPED, answerType, prompt);
    }

    function _length(bytes memory data) private pure returns (bytes3) {
        if (data.length > type(uint24).max) revert PartTooLong(data.length);
        return bytes3(uint24(data.length));
    }

    /* READING */

    /// @notice Whether a prompt's answer has a type, however malformed.
    function isTyped(bytes calldata prompt) internal pure returns (bool) {
        return prompt.length != 0 && prompt[0] == TYPED;
    }

    /// @notice Where a typed prompt says that its type ends; beyond the prompt if that is too short to say.
    function typeEnd(bytes calldata prompt) internal pure returns (uint256) {
        if (prompt.length < TYPE_HEADER_BYTES) return TYPE_HEADER_BYTES;
        return TYPE_HEADER_BYTES + uint24(bytes3(prompt[TYPE_HEADER_BYTES - TYPE_LENGTH_BYTES:TYPE_HEADER_BYTES]));
    }

    /// @notice What a prompt asks: of a typed one what stands behind its type, nothing if that is longer than the prompt.
    function proper(bytes calldata prompt) internal pure returns (bytes calldata) {
        if (!isTyped(prompt)) return prompt;
        uint256 end = typeEnd(prompt);
        return end < prompt.length ? prompt[end:] : prompt[:0];
    }

    /* ROOM */

    /// @notice Reverts unless every prompt of up to `promptBytes` leaves room for an output.
    /// @param takesText whether words are read, as they always are where a panel judges: at most a token a byte; the space
    /// that some vocabularies put before a text takes the place of a kind byte. Else all prompts are ids. A type leaves less room for both.
    function checkEnvelope(uint256 contextLength, uint256 wrapperTokens, uint256 promptBytes, bool takesText)
        internal
        pure
    {
        if (!takesText) promptBytes = promptBytes == 0 ? 0 : (promptBytes - KIND_BYTES) / ID_BYTES;
        uint256 tokens = wrapperTokens + promptBytes;
        if (tokens >= contextLength) revert PromptMayNotFit(tokens, contextLength);
    }
}
