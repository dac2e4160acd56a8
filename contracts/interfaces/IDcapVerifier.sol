// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IAttestationVerifier} from "./IAttestationVerifier.sol";
import {IDcapCollateral} from "./IDcapCollateral.sol";

/// @title Verifies quotes of Intel DCAP by what `IDcapCollateral` holds.
interface IDcapVerifier is IAttestationVerifier {
    error UnsupportedQuote(uint256 version, bytes6 keyAndTeeType);
    error WrongVendor(bytes16 vendor);
    error WrongLength(uint256 expected, uint256 given);
    /// @notice Thrown when the quoting enclave's report does not carry the hash of the attestation key.
    error UnboundKey();
    error BadQeSignature();
    error BadQuoteSignature();
    /// @notice Thrown when the quoting enclave is not the one that Intel signed an identity of, or runs in debug mode.
    error WrongQe(bytes32 signer, uint128 attributes, uint256 product);
    /// @notice Thrown when a trust domain or enclave is debuggable or otherwise not sealed, or its TDX module not Intel's.
    error UnsafeAttributes(bytes8 attributes);
    error ForeignModule();
    error PlatformRevoked(uint8 status);

    function collateral() external view returns (IDcapCollateral);
}
