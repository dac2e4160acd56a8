// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IOracleConsumer} from "../interfaces/IOracleConsumer.sol";

/// @title A hostile contract: a test sets beforehand what it does when it is called back or paid.
contract Hostile is IOracleConsumer {
    enum Deed {
        Record,
        Revert,
        ReturnBomb,
        RevertBomb,
        BurnGas,
        SelfDestruct,
        Calls
    }

    struct Call {
        address target;
        uint256 valueWei;
        bytes data;
    }

    struct Outcome {
        bool success;
        bytes4 selector;
    }

    Deed public deed;
    bool public refusesEther;

    uint256 public callbacks;
    uint256 public gasAtEntry;
    bytes32 public outputHash;

    Call[] private _calls;
    Outcome[] private _outcomes;

    error Refused();

    receive() external payable {
        if (refusesEther) revert Refused();
        if (deed == Deed.Calls) _makeCalls();
    }

    function set(Deed deed_) external {
        deed = deed_;
    }

    function refuseEther(bool refuses) external {
        refusesEther = refuses;
    }

    /// @notice The calls to make when called back or paid.
    function plan(Call[] calldata calls) external {
        delete _calls;
        for (uint256 i; i < calls.length; ++i) {
            _calls.push(calls[i]);
        }
    }

    function outcomes() external view returns (Outcome[] memory) {
        return _outcomes;
    }

    /// @notice Makes one call now, and passes a revert on.
    function execute(address target, bytes calldata data) external payable returns (bytes memory) {
        (bool success, bytes memory result) = target.call{value: msg.value}(data);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(result, 0x20), mload(result))
            }
        }
        return result;
    }

    /// @inheritdoc IOracleConsumer
    function onAnswer(RequestId, bytes calldata output) external {
        uint256 gasNow = gasleft();
        if (deed == Deed.Revert) revert Refused();
        if (deed == Deed.ReturnBomb) _bomb(true);
        if (deed == Deed.RevertBomb) _bomb(false);
        if (deed == Deed.BurnGas) {
            assembly ("memory-safe") {
                invalid()
            }
        }
        if (deed == Deed.SelfDestruct) selfdestruct(payable(msg.sender));
        if (deed == Deed.Calls) _makeCalls();

        ++callbacks;
        gasAtEntry = gasNow;
        outputHash = keccak256(output);
    }

    function _makeCalls() private {
        for (uint256 i; i < _calls.length; ++i) {
            Call memory c = _calls[i];
            (bool success, bytes memory result) = c.target.call{value: c.valueWei}(c.data);
            _outcomes.push(Outcome(success, result.length >= 4 ? bytes4(result) : bytes4(0)));
        }
    }

    /// @dev A megabyte of return data: whoever copied it would pay some 2 M gas for the memory.
    function _bomb(bool asReturn) private pure {
        assembly ("memory-safe") {
            if asReturn { return(0, 1048576) }
            revert(0, 1048576)
        }
    }
}

/// @title A consumer that is gone when its callback comes: made, used and destroyed in one transaction.
contract Mayfly {
    event Asked(address child);

    function ask(IOracle oracle, ServiceId service, bytes calldata prompt, IOracle.Params calldata params)
        external
        payable
    {
        MayflyChild child = new MayflyChild();
        child.ask{value: msg.value}(oracle, service, prompt, params);
        child.vanish();
        emit Asked(address(child));
    }
}

contract MayflyChild {
    function ask(IOracle oracle, ServiceId service, bytes calldata prompt, IOracle.Params calldata params)
        external
        payable
    {
        oracle.request{value: msg.value}(service, prompt, params);
    }

    function vanish() external {
        selfdestruct(payable(msg.sender));
    }
}

/// @title Forces its ether upon an address that has no way to take it.
contract Forcer {
    constructor(address payable target) payable {
        selfdestruct(target);
    }
}
