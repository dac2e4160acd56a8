// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ServiceId} from "./Ids.sol";
import {IOracle} from "./IOracle.sol";
import {IServices} from "./IServices.sol";

/// @title What vouches for answers, so that they need no challenge window.
/// @notice A service names its attester once. The attester can make an answer final at once, and nothing else.
interface IAttester {
    /// @notice Takes on a new service, or reverts when it cannot work under the service's terms.
    /// @dev Called by the oracle, once a service.
    function adopt(ServiceId service, IServices.Terms calldata terms) external;

    /// @notice Judges the attestation of an answer to `req`. Reverts when it does not vouch for the answer.
    /// @dev It vouches for the request and for what was computed, not for the head of `ans`, which the oracle writes.
    /// @return signer the attested key.
    /// @return atOnce whether the answer may be final at once; otherwise it has a challenge window, like any other.
    function check(IOracle.Request calldata req, IOracle.Answer calldata ans, bytes calldata attestation)
        external
        view
        returns (address signer, bool atOnce);
}
