// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test} from "forge-std/Test.sol";
import {console} from "forge-std/console.sol";

import {SWITCH} from "../../contracts/Switch.sol";

/// @title Tests played with one mutant on after another, each up to the first test that fails.
/// @notice Numbers come from DIDYMA_MUTANTS; which test killed which goes to played.txt, with nothing where none did.
abstract contract Plays is Test {
    /// @dev Of one test: some hundred times what any of them takes. A mutant that never ends is killed by it.
    uint256 private constant MOST_GAS = 20_000_000_000;

    struct Play {
        string name;
        string artifact;
        bytes call;
    }

    Play[] private plays;

    function _named(string memory artifact, string memory name) internal {
        _test(artifact, abi.encodeWithSignature(string.concat("test_", name, "()")));
    }

    function _test(string memory artifact, bytes memory data) internal {
        _add(artifact, artifact, data);
    }

    function _add(string memory name, string memory artifact, bytes memory data) internal {
        plays.push(Play(name, artifact, data));
    }

    function test_mutants__each_on_alone__are_noticed() external {
        uint256[] memory numbers = vm.envUint("DIDYMA_MUTANTS", ",");
        for (uint256 i; i < numbers.length; ++i) {
            vm.writeLine("played.txt", string.concat(vm.toString(numbers[i]), " ", _killer(numbers[i])));
        }
    }

    /// @dev Plays of the artifact DIDYMA_FIRST come before all others.
    function _killer(uint256 number) private returns (string memory) {
        bytes32 first = keccak256(bytes(vm.envString("DIDYMA_FIRST")));
        for (uint256 i; i < 2 * plays.length; ++i) {
            Play memory played = plays[i % plays.length];
            if ((keccak256(bytes(played.artifact)) == first) != (i < plays.length)) continue;
            uint256 before = vm.snapshotState();
            bool passes = true;
            try this.play{gas: MOST_GAS}(played, number) {}
            catch (bytes memory why) {
                passes = keccak256(why) == keccak256("FOUNDRY::ASSUME");
                if (!passes && number == 0) console.logBytes(why);
            }
            vm.revertToStateAndDelete(before);
            if (!passes) return played.name;
        }
        return "";
    }

    function play(Play memory played, uint256 number) external {
        this.stopPranks(4);
        vm.clearMockedCalls();
        vm.deal(SWITCH, number);
        address test = deployCode(played.artifact);
        _call(test, abi.encodeWithSignature("setUp()"));
        _call(test, played.call);
    }

    /// @dev A test that failed may have left some, of its own depth or a deeper one.
    function stopPranks(uint256 depths) external {
        vm.stopPrank();
        if (depths > 0) this.stopPranks(depths - 1);
    }

    function _call(address test, bytes memory data) private {
        (bool done, bytes memory why) = test.call(data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(why, 0x20), mload(why))
            }
        }
    }
}
