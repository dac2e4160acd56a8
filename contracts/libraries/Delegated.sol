// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Runs a part of a contract's code that another address holds, for contracts above the size limit.
library Delegated {
    /// @dev Runs the function of `code` that this call names on this contract's storage, and ends the call as it ends.
    /// `code` must never change, and must lay out storage as this contract does.
    function run(address code) internal {
        assembly ("memory-safe") {
            let data := mload(0x40)
            calldatacopy(data, 0, calldatasize())
            let success := delegatecall(gas(), code, data, calldatasize(), 0, 0)
            returndatacopy(data, 0, returndatasize())
            if iszero(success) { revert(data, returndatasize()) }
            return(data, returndatasize())
        }
    }
}
