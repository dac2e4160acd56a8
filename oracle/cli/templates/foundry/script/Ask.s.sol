// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ServiceId} from "didyma/contracts/interfaces/Ids.sol";
import {IOracle} from "didyma/contracts/interfaces/IOracle.sol";

import {Critic} from "../src/Critic.sol";

/// @dev What this script needs of forge; forge-std has all of it.
interface Vm {
    function envAddress(string calldata name) external view returns (address);
    function envBytes32(string calldata name) external view returns (bytes32);
    function envOr(string calldata name, string calldata fallback_) external view returns (string memory);
    function startBroadcast() external;
    function stopBroadcast() external;
}

/// @title Deploys the critic and asks it. The oracle and the service come from the environment, as `didyma dev --` sets it.
contract Ask {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    function run() external returns (Critic critic) {
        bytes memory review = bytes(vm.envOr("REVIEW", "The soup was cold and the waiter was rude."));
        vm.startBroadcast();
        critic = new Critic(
            IOracle(vm.envAddress("DIDYMA_ORACLE")), ServiceId.wrap(vm.envBytes32("DIDYMA_SERVICE"))
        );
        critic.ask{value: critic.price(review.length, 10 gwei)}(review, 10 gwei);
        vm.stopBroadcast();
    }
}
