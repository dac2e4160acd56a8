// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title What a validator needs of a registry of validations of agents' work.
/// @dev Of ERC-8004, "Trustless Agents", a draft as of November 2026: https://eips.ethereum.org/EIPS/eip-8004. Signatures are those of
/// its reference implementation (github.com/erc-8004/erc-8004-contracts, contracts/ValidationRegistryUpgradeable.sol, version
/// 1.1.0); in earlier ones the tag was bytes32.
interface IValidationRegistry {
    /// @notice Asks a validator about an agent's work. Only the agent's owner or operator.
    /// @param requestHash commits to what is to be judged.
    function validationRequest(
        address validatorAddress,
        uint256 agentId,
        string calldata requestURI,
        bytes32 requestHash
    ) external;

    /// @notice Says how good the work is. Only the validator that was asked.
    /// @param response 0 (failed) to 100 (passed).
    /// @param responseHash commits to the evidence.
    function validationResponse(
        bytes32 requestHash,
        uint8 response,
        string calldata responseURI,
        bytes32 responseHash,
        string calldata tag
    ) external;

    /// @notice Who was asked, about whom, and what was last said. The reference implementation reverts where nobody was asked.
    function getValidationStatus(bytes32 requestHash)
        external
        view
        returns (
            address validatorAddress,
            uint256 agentId,
            uint8 response,
            bytes32 responseHash,
            string memory tag,
            uint256 lastUpdate
        );
}
