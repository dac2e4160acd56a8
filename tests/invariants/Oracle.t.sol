// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test} from "forge-std/Test.sol";

import {Handler} from "./Handler.sol";

/// @title What holds after any sequence of what people can do.
contract OracleInvariants is Test {
    Handler internal handler;

    function setUp() external {
        handler = Handler(deployCode("Handler.sol:Handler"));
        bytes4[] memory deeds = new bytes4[](19);
        deeds[0] = deeds[14] = Handler.ask.selector; // twice as often
        deeds[1] = deeds[15] = Handler.answer.selector;
        deeds[2] = Handler.finalize.selector;
        deeds[3] = Handler.cancel.selector;
        deeds[4] = Handler.refund.selector;
        deeds[5] = Handler.challenge.selector;
        deeds[6] = Handler.draw.selector;
        deeds[7] = Handler.decide.selector;
        deeds[8] = Handler.seats.selector;
        deeds[9] = Handler.pass.selector;
        deeds[10] = Handler.withdraw.selector;
        deeds[11] = Handler.retry.selector;
        deeds[12] = Handler.misbehave.selector;
        deeds[13] = Handler.deposit.selector;
        deeds[16] = Handler.leaveCallback.selector;
        deeds[17] = Handler.reclaim.selector;
        deeds[18] = Handler.attest.selector;
        targetContract(address(handler));
        targetSelector(FuzzSelector({addr: address(handler), selectors: deeds}));
    }

    /// @dev One function for all: each such function is a campaign, and from one seed all campaigns make the same calls.
    function invariant_balances_draws_answers_and_locks_are_as_promised() external view {
        _balanceCoversExactlyWhatIsOwed();
        _requestDrawsWhomItDrewWhenItWasMade();
        _drawIsTheListOfActiveSeats();
        _finalAnswerNeverChanges();
        _honestNodeIsNeverSlashed();
        _locksAreOpenAnswersAndPanelDuties();
    }

    function _balanceCoversExactlyWhatIsOwed() internal view {
        (uint256 oracleWei, uint256 panelWei) = handler.balances();
        assertEq(oracleWei, handler.owedWei(), "the balance covers exactly what is owed");
        assertEq(panelWei, handler.panelOwedWei(), "the panel's balance covers exactly what is owed");
    }

    function _requestDrawsWhomItDrewWhenItWasMade() internal view {
        assertTrue(handler.drawsStand(), "a request draws whom it drew when it was made");
    }

    function _drawIsTheListOfActiveSeats() internal view {
        assertTrue(handler.drawIsExact(), "the draw is the list of active seats");
    }

    function _finalAnswerNeverChanges() internal view {
        assertTrue(handler.finalAnswersStand(), "a final answer never changes");
    }

    function _honestNodeIsNeverSlashed() internal view {
        assertEq(handler.honestLossWei(), 0, "an honest node is never slashed");
    }

    function _locksAreOpenAnswersAndPanelDuties() internal view {
        assertEq(handler.unexplainedLocks(), 0, "locks are open answers and panel duties");
    }

    /// @dev The handler can reach what the invariants are about; the fuzzer does the rest.
    function test_handler__plays_lives_to_their_ends() external {
        uint256 asked;
        while (handler.rejected() == 0 || handler.finalized() == 0) {
            assertLt(asked, 100);
            handler.ask(asked, 8, 100, 100_000, true, false);
            handler.answer(asked, 4, true);
            handler.challenge(asked, false);
            handler.draw(asked, 0);
            handler.decide(asked);
            handler.pass(400);
            handler.finalize(asked, asked, 0);
            handler.refund(asked);
            ++asked;
        }
        assertTrue(handler.finalAnswersStand());
        assertEq(handler.honestLossWei(), 0);
    }

    /// @dev So can it for answers that keys inside TEEs sign.
    function test_handler__attests_at_once_and_with_a_window() external {
        handler.ask(0, 8, 100, 100_000, true, true);
        handler.attest(0, 4, true, false);
        assertEq(handler.finalized(), 1);
        handler.ask(1, 8, 100, 100_000, true, false);
        handler.attest(1, 4, false, false);
        assertEq(handler.finalized(), 1);
        handler.pass(400);
        handler.finalize(1, 1, 0);
        assertEq(handler.finalized(), 2);
        assertTrue(handler.finalAnswersStand());
    }

    /// @dev Runs at the end of every sequence: no ether is ever stuck.
    function afterInvariant() external {
        handler.windDown();
        (uint256 oracleWei, uint256 panelWei) = handler.balances();
        assertEq(oracleWei, 0);
        assertEq(panelWei, 0);
    }
}
