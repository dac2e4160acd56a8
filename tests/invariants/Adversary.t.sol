// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test} from "forge-std/Test.sol";
import {console} from "forge-std/console.sol";

import {Adversary} from "./Adversary.sol";
import {Ending} from "./Ledger.sol";
import {Sybils} from "./Sybils.sol";

/// @title What is promised to the honest side, whatever anybody else does: on the real referee, over a tiny model.
/// @notice The invariants take sequences that forge makes up and can shorten. The lives take long ones, count how often every
/// way to end was reached, and fail at zero: what was never reached was never tested.
contract AdversaryInvariants is Test {
    uint256 private constant DEEDS = 90;
    uint256 private constant ENDINGS = 31;

    Adversary private adversary;
    bytes4[] private deeds;

    function setUp() external {
        adversary = Adversary(deployCode("Adversary.sol:Adversary"));
        _deed(Adversary.pass.selector, 5);
        _deed(Adversary.ask.selector, 3);
        _deed(Adversary.answer.selector, 4);
        _deed(Sybils.challenge.selector, 3);
        _deed(Sybils.press.selector, 4);
        _deed(Sybils.play.selector, 4);
        _deed(Sybils.stop.selector, 1);
        _deed(Sybils.refute.selector, 1);
        _deed(Sybils.collect.selector, 1);
        _deed(Adversary.changeSeat.selector, 2);
        _deed(Adversary.close.selector, 2);
        _deed(Adversary.meddle.selector, 1);
        _deed(Adversary.sleep.selector, 1);
        _deed(Adversary.serve.selector, 1);
        _deed(Sybils.besiege.selector, 1);
        targetContract(address(adversary));
        targetSelector(FuzzSelector({addr: address(adversary), selectors: deeds}));
    }

    function _deed(bytes4 selector, uint256 weight) private {
        for (uint256 i; i < weight; ++i) {
            deeds.push(selector);
        }
    }

    /// forge-config: default.invariant.runs = 6
    /// forge-config: default.invariant.depth = 80
    function invariant_promises_are_kept_and_every_ether_is_somebody_s() external view {
        _check();
    }

    function afterInvariant() external {
        adversary.windDown();
        _check();
    }

    function _check() private view {
        assertEq(adversary.broken(), "");
        (uint256 heldWei, uint256 owedWei) = adversary.held();
        assertEq(heldWei, owedWei, "every ether is somebody's");
    }

    function test_lives__of_any_deeds__keep_every_promise_and_reach_every_ending() external {
        uint256 seed = vm.envOr("DIDYMA_SEED", uint256(3));
        uint256 lives = vm.envOr("DIDYMA_LIVES", uint256(90));
        uint256[ENDINGS] memory reached;
        uint256 start = vm.snapshotState();
        for (uint256 life; life < lives; ++life) {
            live(seed, life);
            for (uint256 i; i < ENDINGS; ++i) {
                reached[i] += adversary.reached(i);
            }
            vm.revertToState(start);
        }
        for (uint256 i; i < ENDINGS; ++i) {
            console.log(_name(i), reached[i]);
        }
        for (uint256 i; i < ENDINGS; ++i) {
            assertGt(reached[i], 0, string.concat("never reached: ", _name(i)));
        }
    }

    /// @dev One life. Reverts if it breaks a promise.
    function live(uint256 seed, uint256 life) public {
        for (uint256 n; n < DEEDS; ++n) {
            uint256 draw = uint256(keccak256(abi.encode(seed, life, n)));
            (bool done, bytes memory why) = address(adversary)
                .call(
                    abi.encodeWithSelector(deeds[draw % deeds.length], draw >> 32, draw >> 80, draw >> 128, draw >> 176)
                );
            if (!done) {
                console.logBytes(why);
                revert(string.concat("a deed failed in life ", vm.toString(life), " at ", vm.toString(n)));
            }
        }
        adversary.windDown();
        string memory broken = adversary.broken();
        if (bytes(broken).length > 0) revert(string.concat("life ", vm.toString(life), ": ", broken));
        (uint256 heldWei, uint256 owedWei) = adversary.held();
        assertEq(heldWei, owedWei, "every ether is somebody's");
    }

    function _name(uint256 i) private pure returns (string memory) {
        string[ENDINGS] memory names = [
            "answers final",
            "callbacks failed",
            "callbacks left",
            "callbacks delivered later",
            "callbacks reclaimed",
            "requests refunded",
            "requests cancelled",
            "answers killed by the clock",
            "answers killed by a number",
            "answers killed by their choice of a token",
            "answers killed by a draw",
            "answers killed by a draw with a cutoff",
            "answers refuted by their prompt",
            "answers refuted by their end",
            "answers refuted by their text",
            "answers refuted by their padding",
            "challenges lost",
            "games settled",
            "games settled with a share",
            "tokens shown",
            "positions picked once tokens were shown",
            "honest nodes paid for openings",
            "turns missed",
            "turns missed by honest nodes",
            "seats taken",
            "seats given up",
            "seats suspended",
            "rewards that waited",
            "rewards paid",
            "prompts refused",
            "answers besieged"
        ];
        return names[i];
    }
}
