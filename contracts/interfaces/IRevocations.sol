// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title A counter of whatever may end what was once verified.
/// @notice As long as it stands still, nothing that stood has fallen, but for time. So one read spares many.
interface IRevocations {
    /// @notice Grows whenever a certificate is revoked.
    function generation() external view returns (uint32);
}
