// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ModelId} from "./interfaces/Ids.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";

/// @title ModelRegistry
contract ModelRegistry is IModelRegistry {
    mapping(ModelId model => Frame) private _frames;

    /// @inheritdoc IModelRegistry
    function register(Manifest calldata manifest) external returns (ModelId model) {
        if (manifest.fileSha256 == 0 || manifest.fileBytes == 0 || manifest.stopTokens.length == 0) {
            revert IncompleteManifest();
        }
        uint256 wrapperTokens = manifest.prefixTokens.length + manifest.suffixTokens.length;
        if (wrapperTokens + 2 > manifest.contextLength) revert NoRoomForPrompt(manifest.contextLength, wrapperTokens);

        model = ModelId.wrap(keccak256(abi.encode(manifest)));
        if (registered(model)) revert AlreadyRegistered(model);

        _frames[model] = Frame({
            contextLength: manifest.contextLength,
            prefixCount: uint32(manifest.prefixTokens.length),
            suffixCount: uint32(manifest.suffixTokens.length),
            replacementToken: manifest.replacementToken
        });
        emit ModelRegistered(model, msg.sender, manifest);
    }

    /// @inheritdoc IModelRegistry
    function registered(ModelId model) public view returns (bool) {
        return _frames[model].contextLength != 0;
    }

    /// @inheritdoc IModelRegistry
    function frameOf(ModelId model) external view returns (Frame memory) {
        return _frames[model];
    }
}
