// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title How many tokens a prompt can be, and whether they fit a model's context.
/// @dev A request whose prompt does not fit has no answer, and every seat in turn would be fined for it. Arbiters
/// therefore refuse services that would accept such a prompt. `oracle/engines/prompts.py` computes the same.
library Prompts {
    /// @dev A token id in a prompt, big-endian; a rest of one or two bytes is ignored.
    uint256 internal constant ID_BYTES = 3;

    /// @notice Thrown when the longest prompt that a service takes may be, with its wrapper, so many tokens that the
    /// context has no room for an output.
    error PromptMayNotFit(uint256 tokens, uint256 contextLength);

    /// @notice Reverts unless every prompt of up to `promptBytes` of token ids leaves room for an output.
    function checkIds(uint256 contextLength, uint256 wrapperTokens, uint256 promptBytes) internal pure {
        _check(contextLength, wrapperTokens + promptBytes / ID_BYTES);
    }

    /// @notice Reverts unless every text of up to `promptBytes` leaves room for an output. A text is at most a token a
    /// byte, and one for the space that some vocabularies put before it; nodes serve no vocabulary that needs more.
    function checkText(uint256 contextLength, uint256 wrapperTokens, uint256 promptBytes) internal pure {
        _check(contextLength, wrapperTokens + promptBytes + 1);
    }

    function _check(uint256 contextLength, uint256 tokens) private pure {
        if (tokens >= contextLength) revert PromptMayNotFit(tokens, contextLength);
    }
}
