// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IAttestationVerifier} from "./IAttestationVerifier.sol";
import {IDcapCollateral} from "./IDcapCollateral.sol";

/// @title Verifies quotes of Intel DCAP by what `IDcapCollateral` holds.
interface IDcapVerifier is IAttestationVerifier {
    /// @notice Thrown when a quote is not of version 3, 4 or 5, for SGX or TDX, with an ECDSA key.
    /// @dev Make the quote with Intel's DCAP.
    error UnsupportedQuote(uint256 version, bytes6 keyAndTeeType);
    /// @notice Thrown when a quote is not of Intel's quoting enclave.
    /// @dev Make the quote with Intel's DCAP.
    error WrongVendor(bytes16 vendor);
    /// @notice Thrown when a quote is longer or shorter than it says.
    /// @dev Pass the quote's bytes, whole and without padding.
    error WrongLength(uint256 expected, uint256 given);
    /// @notice Thrown when the quoting enclave's report does not carry the hash of the attestation key.
    /// @dev Make a new quote; this one was put together from parts.
    error UnboundKey();
    /// @notice Thrown when the platform's certificate did not sign the quoting enclave's report.
    /// @dev Make a new quote on this platform.
    error BadQeSignature();
    /// @notice Thrown when the attestation key did not sign the quote.
    /// @dev Pass the quote unchanged.
    error BadQuoteSignature();
    /// @notice Thrown when the quoting enclave is not the one that Intel signed an identity of, or runs in debug mode.
    /// @dev Update DCAP on the platform, and make a new quote.
    error WrongQe(bytes32 signer, uint128 attributes, uint256 product);
    /// @notice Thrown when a trust domain or enclave is debuggable or otherwise not sealed, or its TDX module not
    /// Intel's.
    /// @dev Start the guest or enclave without debugging.
    error UnsafeAttributes(bytes8 attributes);
    /// @notice Thrown when a TDX module is not signed by Intel.
    /// @dev Load Intel's TDX module.
    error ForeignModule();
    /// @notice Thrown when Intel's documents revoke the platform's TCB.
    /// @dev Update the platform's firmware, and make a new quote.
    error PlatformRevoked(uint8 status);

    function collateral() external view returns (IDcapCollateral);
}
