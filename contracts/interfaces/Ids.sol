// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @dev keccak256 of the ABI encoding of a model's manifest.
type ModelId is bytes32;

/// @dev keccak256 of the ABI encoding of a service's terms.
type ServiceId is bytes32;

/// @dev keccak256 of the ABI encoding of the request; an integer so that it prints and sorts as one.
type RequestId is uint256;

using {sameService as ==} for ServiceId global;
using {sameModel as ==} for ModelId global;

function sameService(ServiceId a, ServiceId b) pure returns (bool) {
    return ServiceId.unwrap(a) == ServiceId.unwrap(b);
}

function sameModel(ModelId a, ModelId b) pure returns (bool) {
    return ModelId.unwrap(a) == ModelId.unwrap(b);
}
