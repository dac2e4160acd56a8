// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IValidationRegistry} from "../interfaces/IValidationRegistry.sol";

/// @title A small validation registry of ERC-8004, for tests of a validator. It knows no agents: anyone asks about any.
contract MockValidationRegistry is IValidationRegistry {
    struct Status {
        address validator;
        uint256 agentId;
        uint8 response;
        bytes32 responseHash;
        string tag;
        uint256 lastUpdate;
    }

    mapping(bytes32 requestHash => Status) private _statuses;
    bool public refuses;

    event ValidationResponse(
        address indexed validatorAddress,
        uint256 indexed agentId,
        bytes32 indexed requestHash,
        uint8 response,
        string responseURI,
        bytes32 responseHash,
        string tag
    );

    error Unknown();
    error Exists();
    error NotValidator();
    error Refused();

    function refuse(bool refuses_) external {
        refuses = refuses_;
    }

    function validationRequest(address validator, uint256 agentId, string calldata, bytes32 requestHash) external {
        Status storage status = _statuses[requestHash];
        if (status.validator != address(0)) revert Exists();
        (status.validator, status.agentId, status.lastUpdate) = (validator, agentId, block.timestamp);
    }

    function validationResponse(
        bytes32 requestHash,
        uint8 response,
        string calldata responseURI,
        bytes32 responseHash,
        string calldata tag
    ) external {
        if (refuses) revert Refused();
        Status storage status = _statuses[requestHash];
        if (msg.sender != status.validator) revert NotValidator();
        (status.response, status.responseHash, status.tag) = (response, responseHash, tag);
        status.lastUpdate = block.timestamp;
        emit ValidationResponse(msg.sender, status.agentId, requestHash, response, responseURI, responseHash, tag);
    }

    function getValidationStatus(bytes32 requestHash)
        external
        view
        returns (address, uint256, uint8, bytes32, string memory, uint256)
    {
        Status storage s = _statuses[requestHash];
        if (s.validator == address(0)) revert Unknown();
        return (s.validator, s.agentId, s.response, s.responseHash, s.tag, s.lastUpdate);
    }
}
