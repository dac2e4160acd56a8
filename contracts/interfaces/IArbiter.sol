// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ServiceId} from "./Ids.sol";
import {IServices} from "./IServices.sol";

/// @title What settles disputes.
/// @notice A service names its arbiter once. The arbiter alone may mark that service's answers as disputed and rule on
/// them; it can move nothing but the bond of the answer it rules on and the ether it brings along.
interface IArbiter {
    /// @notice Takes on a new service, or reverts when its terms cannot be judged by this arbiter.
    /// @dev Called by the oracle, once a service.
    /// @return disputeSeconds the longest that a dispute can last; seats cannot be given up sooner.
    function adopt(ServiceId service, IServices.Terms calldata terms) external returns (uint32 disputeSeconds);
}
