// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IRevocations} from "./IRevocations.sol";

/* TCB STATUS: what is wrong with a platform, as flags. Zero is up to date; verdicts about parts are joined by `|`. */

/// @dev A newer security version of microcode, firmware or TEE module exists.
uint8 constant OUT_OF_DATE = 1;
/// @dev Safe only in a configuration that evidence does not show.
uint8 constant CONFIGURATION_NEEDED = 2;
/// @dev Safe only with software that mitigates the advisories named.
uint8 constant SW_HARDENING_NEEDED = 4;
uint8 constant REVOKED = 8;

/// @dev In place of a list of advisories that is too long, or not understood. No policy can accept it.
uint128 constant UNLISTABLE_ADVISORIES = type(uint128).max;

/// @title What a kind of TEE evidence must prove to be believed.
/// @notice A verifier says what the hardware's vendor vouches for. Which code to believe, and how stale a platform may
/// be, is for the caller's policy.
interface IAttestationVerifier {
    /// @param kind kind of evidence, as a short string; kinds that begin with "dev" prove nothing.
    /// @param measurementId hash over the kind and every register that tells code and configuration apart.
    /// @param platformId names the machine, for as long as it lives.
    /// @param credential what the vendor vouched with: an argument of `stands`.
    /// @param reportBinding first half of the evidence's report data: what the measured code committed to.
    /// @param encryptionKey second half of it: the measured code's X25519 public key.
    /// @param advisories numbers of the security advisories that the platform is open to, 16 bits each; or
    /// UNLISTABLE_ADVISORIES, also where software must harden against something that no advisory names.
    /// @param behindSince Unix time in seconds at which the evaluation that finds the platform OUT_OF_DATE first stood on
    /// chain; 0 if the platform is not.
    /// @param expiresAt Unix time in seconds from which the verdict is stale: when the first signed document behind it is.
    /// @param tcbStatus flags; never REVOKED.
    struct Verified {
        bytes32 kind;
        bytes32 measurementId;
        bytes32 platformId;
        bytes32 credential;
        bytes32 reportBinding;
        bytes32 encryptionKey;
        uint128 advisories;
        uint40 behindSince;
        uint40 expiresAt;
        uint8 tcbStatus;
    }

    /// @notice Checks evidence against the vendor's documents of this moment.
    /// @param evaluation number of the vendor's TCB evaluation that judges the platform. The vendor keeps several at once;
    /// an older one may find nothing wrong with what a newer one condemns. Which will do is for the caller's policy.
    /// @dev Reverts on anything but sound evidence of an unrevoked platform. Warning: sound is not acceptable; a platform
    /// that is out of date or open to advisories passes, and `tcbStatus` says so.
    function verify(bytes calldata evidence, uint16 evaluation) external view returns (Verified memory);

    /// @notice Tells when `stands` may say otherwise than before, expiry apart.
    function revocations() external view returns (IRevocations);

    /// @notice Whether evidence once verified still stands: nothing behind it is revoked, neither what vouched for the
    /// platform nor what signed the documents that judged it.
    /// @dev Never reverts: what is unknown does not stand.
    function stands(bytes32 credential) external view returns (bool);
}
