// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ModelId} from "./Ids.sol";

/// @title Which models exist, and what exactly each one is.
/// @notice Registration is permissionless and final. A manifest that lies about its file harms nobody but its author:
/// nodes hash the file and refuse to serve a model that does not match.
interface IModelRegistry {
    /// @notice Everything that decides a model's output for given prompt bytes and parameters.
    /// @param name for people; decides nothing.
    /// @param fileSha256 SHA-256 of the GGUF file.
    /// @param fileBytes size of the GGUF file.
    /// @param uri where the file may be found; decides nothing, and no node fetches it on its own.
    /// @param contextLength most tokens of wrapper, prompt and output together.
    /// @param prefixTokens token ids before the prompt, the beginning-of-text token included.
    /// @param suffixTokens token ids after the prompt.
    /// @param stopTokens token ids that end an output; they spell nothing.
    /// @param replacementToken read in place of an id beyond the vocabulary, and as the only token of an empty prompt.
    /// @param weightsRoot Merkle root over the raw rows of the file's tensors; zero if no exact engine runs the model.
    /// @param architecture ABI-encoded numbers of the exact engine; empty if no exact engine runs the model.
    struct Manifest {
        string name;
        bytes32 fileSha256;
        uint64 fileBytes;
        string uri;
        uint32 contextLength;
        uint32[] prefixTokens;
        uint32[] suffixTokens;
        uint32[] stopTokens;
        uint32 replacementToken;
        bytes32 weightsRoot;
        bytes architecture;
    }

    /// @notice What a prompt of the model must fit into, and what stands in for an id beyond the vocabulary.
    /// @param contextLength most tokens of wrapper, prompt and output together.
    /// @param prefixCount tokens before the prompt. @param suffixCount tokens after it.
    struct Frame {
        uint32 contextLength;
        uint32 prefixCount;
        uint32 suffixCount;
        uint32 replacementToken;
    }

    /// @notice A model was registered. Only its frame is stored; the rest of the manifest is in this event alone.
    event ModelRegistered(ModelId indexed model, address indexed author, Manifest manifest);

    /// @notice Thrown when the same manifest was registered before.
    /// @dev Nothing is to be done: the model can be used.
    error AlreadyRegistered(ModelId model);

    /// @notice Thrown when a manifest names no file or no stop token.
    /// @dev `didyma model add` makes complete ones.
    error IncompleteManifest();

    /// @notice Thrown when the context does not hold the wrapper, one token of a prompt and one of an output.
    /// @dev Shorten the wrapper or raise the context.
    error NoRoomForPrompt(uint256 contextLength, uint256 wrapperTokens);

    /// @notice Registers `manifest` for ever.
    function register(Manifest calldata manifest) external returns (ModelId model);

    /// @notice Whether `model` was registered.
    function registered(ModelId model) external view returns (bool);

    /// @notice A model's frame; all zero if it was not registered.
    function frameOf(ModelId model) external view returns (Frame memory);
}
