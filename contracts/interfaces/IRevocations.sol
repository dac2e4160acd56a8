// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title A counter of revocations.
/// @notice While it stays the same, whatever was verified still stands, unless it has expired. One read replaces many.
interface IRevocations {
    /// @notice Grows whenever a certificate is revoked.
    function generation() external view returns (uint32);
}
