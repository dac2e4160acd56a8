// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {ModelId} from "./interfaces/Types.sol";

/// @title ModelRegistry
contract ModelRegistry is IModelRegistry {
    /// @inheritdoc IModelRegistry
    mapping(ModelId model => bool) public registered;

    /// @inheritdoc IModelRegistry
    function register(Manifest calldata manifest) external returns (ModelId model) {
        if (
            manifest.fileSha256 == 0 || manifest.fileBytes == 0 || manifest.contextLength == 0
                || manifest.stopTokens.length == 0
        ) revert IncompleteManifest();

        model = ModelId.wrap(keccak256(abi.encode(manifest)));
        if (registered[model]) revert AlreadyRegistered(model);

        registered[model] = true;
        emit ModelRegistered(model, msg.sender, manifest);
    }
}
