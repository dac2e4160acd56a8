// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Vm} from "forge-std/Vm.sol";

import {BURN} from "../../contracts/interfaces/ICredits.sol";
import {RequestId} from "../../contracts/interfaces/Ids.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {OneOperator} from "./OneOperator.sol";

/// @title Whose turn it is, what a missed turn costs and whom, and what a ruling moves: to the wei and to the second.
/// @notice All turns are one seat's.
contract Turns is OneOperator {
    /* WHOSE TURN */

    function test_answer__anybody_but_the_operator__is_refused() external {
        IOracle.Request memory req = _ask("Hello");
        _blocks(3);
        bytes32 seed = blockhash(askedIn + 2);
        bytes memory why = abi.encodeWithSelector(IOracle.NotYourTurn.selector, lens.idOf(req), 0, uint16(0), operator);
        vm.expectRevert(why);
        vm.prank(owner);
        oracle.answer(req, "yes", 2, 0, seed);
        vm.expectRevert(why);
        vm.prank(payer);
        oracle.answerAttested(req, "yes", 2, 0, seed, hex"01", false);
        _answer(req);
        assertEq(_seatWei(), 299 ether);
        assertEq(oracle.seatOf(service, 0).locks, 1);
    }

    function test_answer__as_many_open_as_a_byte_counts__the_next_waits_for_one_to_end() external {
        IOracle.Request[] memory reqs = new IOracle.Request[](256);
        for (uint256 i; i < 256; ++i) {
            reqs[i] = _ask(abi.encodePacked("Hello ", uint16(i)));
        }
        _blocks(3);
        IOracle.Answer memory first = _answer(reqs[0]);
        for (uint256 i = 1; i < 255; ++i) {
            _answer(reqs[i]);
        }
        bytes32 seed = blockhash(askedIn + 2);
        vm.expectRevert(abi.encodeWithSelector(IServices.SeatBusy.selector, service, uint16(0)));
        vm.prank(operator);
        oracle.answer(reqs[255], "yes", 2, 0, seed);
        uint256 start = vm.snapshotState();
        _refund(reqs[255]);
        assertEq(oracle.credit(BURN), 0, "whoever may not answer is not fined");
        vm.revertToState(start);
        _blocks(11); // until the window of the first is over
        _finalize(reqs[0], first);
        _answer(reqs[255]);
        assertEq(oracle.seatOf(service, 0).locks, 255);
    }

    /* WHAT A MISSED TURN COSTS */

    /// @dev Two turns at the penalty, and what is left of half the base price for a third; ten were missed.
    function test_refund__ten_turns_missed__fines_stop_at_half_the_base_price_and_the_payer_gives_up_as_much()
        external
    {
        _refunded(100, 59, 0.0005 ether);
    }

    /// @dev With one second more, a whole turn may have had no block.
    function test_refund__chain_may_have_stood_still_for_a_turn__nobody_loses_anything() external {
        _refunded(100, 60, 0);
    }

    function _refunded(uint256 count, uint256 more, uint256 finesWei) private {
        IOracle.Request memory req = _ask("Hello");
        (uint256 feeWei,,) = oracle.quote(service, 5, _params(8, 0));
        vm.roll(askedIn + 3 + count);
        vm.warp(askedAt + count * BLOCK_SECONDS + more);
        vm.recordLogs();
        oracle.refund(req);
        uint256 missed;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] == IOracle.TurnMissed.selector) ++missed;
        }
        assertEq(missed, finesWei == 0 ? 0 : 3);
        assertEq(oracle.credit(payer), feeWei - finesWei);
        assertEq(_seatWei(), 300 ether - finesWei);
        assertEq(oracle.credit(BURN), 2 * finesWei);
    }

    function test_answer__its_own_turns_were_missed__costs_the_bond_alone() external {
        IOracle.Request memory req = _ask("Hello");
        _blocks(12);
        _answer(req);
        assertEq(_seatWei(), 299 ether);
        assertEq(oracle.credit(BURN), 0);
    }

    function test_answer__last_second__is_taken_and_a_second_later_refused() external {
        IOracle.Request memory req = _ask("Hello");
        RequestId requestId = lens.idOf(req);
        uint256 deadline = askedAt + terms.lifetimeSeconds;
        vm.roll(askedIn + 51);
        vm.warp(deadline + 1);
        bytes32 seed = blockhash(askedIn + 2);
        vm.expectRevert(abi.encodeWithSelector(IOracle.DeadlinePassed.selector, requestId, deadline));
        vm.prank(operator);
        oracle.answer(req, "yes", 2, 0, seed);
        vm.warp(deadline);
        vm.expectRevert(abi.encodeWithSelector(IOracle.DeadlineNotPassed.selector, requestId, deadline));
        oracle.refund(req);
        _answer(req);
    }

    function test_refund__deadline_in_the_second_turn__costs_the_first() external {
        IOracle.Params memory params = _params(8, 0);
        params.deadline = uint48(vm.getBlockTimestamp() + 119);
        assertEq(_refund(_ask("Hello", params)).length, 1);
        assertEq(_seatWei(), 299.9998 ether);
    }

    /// @dev It is sealed to some keys: others cannot answer it.
    function test_refund__private_prompt__nobody_loses_anything() external {
        IOracle.Params memory params = _params(8, 0);
        params.isPrivate = true;
        assertEq(_refund(_ask("Hello", params)).length, 0);
        assertEq(_seatWei(), 300 ether);
    }

    function test_refund__seat_leaves__is_not_fined() external {
        IOracle.Request memory req = _ask("Hello");
        vm.prank(owner);
        oracle.announceExit(service, 0);
        assertEq(_refund(req).length, 0);
        assertEq(_seatWei(), 300 ether);
    }

    function test_refund__asked_in_the_second_the_seat_was_activated__its_first_turn_counts() external {
        ++terms.maxTokens;
        _open();
        assertEq(_refund(_ask("Hello"))[0], 0);
    }

    /// @dev The place of the request leads to the seat's number still.
    function test_refund__seat_was_given_up_and_taken_anew_since__its_new_owner_is_not_fined() external {
        IOracle.Request memory req = _ask("Hello");
        vm.prank(owner);
        oracle.announceExit(service, 0);
        vm.warp(oracle.seatOf(service, 0).readyAt);
        vm.prank(owner);
        oracle.exit(service, 0);
        assertEq(_joined(), 0);
        vm.roll(askedIn + 3 + (vm.getBlockTimestamp() - askedAt) / BLOCK_SECONDS); // the chain never stood still
        assertEq(_refundNow(req).length, 0);
        assertEq(_seatWei(), SEAT_WEI);
    }

    /// @dev To the second, however long a turn is.
    function test_refund__turns_of_an_hour__cost_nothing_if_the_chain_may_have_stood_still_for_one() external {
        (terms.turnSeconds, terms.lifetimeSeconds) = (1 hours, 2 hours);
        _open();
        IOracle.Params memory params = _params(8, 0);
        params.deadline = uint48(vm.getBlockTimestamp() + 1 hours);
        IOracle.Request memory req = _ask("Hello", params);
        uint256 start = vm.snapshotState();
        for (uint256 more = 3599; more < 3601; ++more) {
            vm.roll(askedIn + 3 + 200);
            vm.warp(askedAt + 200 * BLOCK_SECONDS + more);
            assertEq(_refundNow(req).length, more == 3599 ? 1 : 0);
            vm.revertToState(start);
        }
    }

    /* A SEAT WITHOUT A FREE BOND */

    function test_refund__fine_takes_of_the_last_bond__seat_leaves_the_draw() external {
        _leave(1 ether);
        _is(IServices.SeatStatus.Active, 1);
        assertEq(_refund(_ask("Hello")).length, 1);
        assertEq(_seatWei(), 0.9998 ether);
        _is(IServices.SeatStatus.Suspended, 0);
    }

    function test_rule__last_bond_is_slashed__seat_leaves_the_draw() external {
        _leave(2 ether);
        IOracle.Request[2] memory reqs = [_ask("first"), _ask("second")];
        _blocks(3);
        IOracle.Answer[2] memory answers = [_answer(reqs[0]), _answer(reqs[1])];
        for (uint256 i; i < 2; ++i) {
            _is(IServices.SeatStatus.Active, 1);
            vm.prank(address(arbiter));
            oracle.dispute(reqs[i], answers[i]);
            vm.expectRevert(abi.encodeWithSelector(IServices.NotDrained.selector, service, 0, 0, 2 - i));
            oracle.suspend(service, 0);
            _rule(reqs[i], answers[i], IOracle.Ruling.Rejected, 1 ether, 0);
        }
        _is(IServices.SeatStatus.Suspended, 0);
    }

    /// @dev Two answers hold the seat's bonds; `leftWei` are left to it.
    function _short(uint256 leftWei) private returns (IOracle.Item[] memory first) {
        _leave(2 ether + leftWei);
        first = new IOracle.Item[](1);
        first[0].request = _ask("first");
        IOracle.Request memory second = _ask("second");
        _blocks(3);
        (first[0].answer, first[0].output) = (_answer(first[0].request), "yes");
        _answer(second);
    }

    function test_refund__no_bond_is_free__nothing_is_answered_nor_fined() external {
        _short(0.5 ether);
        IOracle.Request memory req = _ask("third");
        _blocks(3);
        bytes32 seed = blockhash(askedIn + 2);
        vm.expectRevert(
            abi.encodeWithSelector(
                IServices.InsufficientSeatBalance.selector, service, 0, uint256(0.5 ether), uint256(1 ether)
            )
        );
        vm.prank(operator);
        oracle.answer(req, "yes", 2, 0, seed);
        assertEq(_refund(req).length, 0);
        assertEq(_seatWei(), 0.5 ether);
    }

    /// @dev Short until the end of the turn, counted from 1970, in which it got a bond back: the first turn fined is the first
    /// that begins then or later. A seat that was never short is fined for all.
    function test_refund__bond_came_back_meanwhile__turns_before_cost_nothing() external {
        uint256 start = vm.snapshotState();
        for (uint256 way; way < 4; ++way) {
            assertEq(_firstFined(0.9995 ether, 0, way), 3, "begins as that turn ends");
            vm.revertToState(start);
            assertEq(_firstFined(0.9995 ether, 59, way), 4, "began a second before");
            vm.revertToState(start);
            assertEq(_firstFined(1 ether, 0, way), 0, "never short");
            vm.revertToState(start);
        }
    }

    /// @param second of a turn, counted from 1970, in which a request is made. @param way in which a bond becomes free 168
    /// seconds later: an answer's end, a deposit, a request that is cancelled and paid for, an annulled answer.
    function _firstFined(uint256 leftWei, uint256 second, uint256 way) private returns (uint256) {
        IOracle.Item memory first = _short(leftWei)[0];
        if (way == 3) {
            vm.prank(address(arbiter));
            oracle.dispute(first.request, first.answer);
        }
        skip(60 - vm.getBlockTimestamp() % 60 + second);
        IOracle.Request memory cancelled = _ask("cancelled");
        IOracle.Request memory req = _ask("third");
        vm.roll(askedIn + 14);
        vm.warp(askedAt + 168);
        _bringBack(first, cancelled, way);
        uint256 seatWei = _seatWei();
        uint256[] memory turns = _refund(req);
        assertEq(_seatWei(), seatWei - 0.0005 ether);
        return turns[0];
    }

    function _bringBack(IOracle.Item memory first, IOracle.Request memory cancelled, uint256 way) private {
        if (way == 0) {
            _finalize(first.request, first.answer);
        } else if (way < 3) {
            vm.prank(payer);
            if (way == 1) oracle.topUp{value: 1 ether}(service, 0);
            else oracle.cancel(cancelled);
        } else {
            _rule(first.request, first.answer, IOracle.Ruling.Annulled, 0, 0);
        }
    }

    /* RULINGS */

    function _disputed() private returns (IOracle.Request memory req, IOracle.Answer memory ans) {
        req = _ask("Hello");
        _blocks(3);
        ans = _answer(req);
        vm.expectRevert(abi.encodeWithSelector(IServices.NotArbiter.selector, service, payer));
        vm.prank(payer);
        oracle.dispute(req, ans);
        uint256 closesAt = vm.getBlockTimestamp() + terms.windowSeconds;
        vm.warp(closesAt + 1);
        vm.expectRevert(abi.encodeWithSelector(IOracle.WindowClosed.selector, lens.idOf(req), closesAt));
        vm.prank(address(arbiter));
        oracle.dispute(req, ans);
        vm.warp(closesAt);
        vm.prank(address(arbiter));
        oracle.dispute(req, ans);
    }

    /// @dev Each word of an answer counts.
    function test_dispute_and_rule__another_answer_than_the_one_posted__is_refused() external {
        (IOracle.Request memory req, IOracle.Answer memory ans) = _disputed();
        bytes memory why = abi.encodeWithSelector(IOracle.AnswerMismatch.selector, lens.idOf(req));
        for (uint256 word; word < 4; ++word) {
            bytes memory encoded = abi.encode(ans);
            encoded[32 * word] ^= 0x01;
            IOracle.Answer memory other = abi.decode(encoded, (IOracle.Answer));
            vm.expectRevert(why);
            this.ruled(req, other, IOracle.Ruling.Annulled, 0, 0);
        }
        _rule(req, ans, IOracle.Ruling.Upheld, 0, 0);
        ans.tokensRoot = "another";
        vm.expectRevert(why);
        vm.prank(address(arbiter));
        oracle.dispute(req, ans);
    }

    /// @dev Of what is slashed for a rejected answer, half is burnt at least, and the odd wei with it.
    function test_rule__rejected__pays_at_most_half_and_what_the_arbiter_brings() external {
        (IOracle.Request memory req, IOracle.Answer memory ans) = _disputed();
        uint72 slashWei = terms.bondWei - 1;
        uint256 mostWei = 0.2 ether + slashWei / 2;
        vm.expectRevert(abi.encodeWithSelector(IOracle.PayoutsTooLarge.selector, mostWei + 1, mostWei));
        this.ruled(req, ans, IOracle.Ruling.Rejected, slashWei, mostWei + 1);
        vm.expectRevert(
            abi.encodeWithSelector(IOracle.SlashTooLarge.selector, uint256(terms.bondWei) + 1, terms.bondWei)
        );
        this.ruled(req, ans, IOracle.Ruling.Rejected, terms.bondWei + 1, 0);
        _rule(req, ans, IOracle.Ruling.Rejected, slashWei, mostWei - 1);
        assertEq(oracle.credit(payer), mostWei - 1);
        assertEq(oracle.credit(BURN), slashWei - slashWei / 2 + 1);
        assertEq(_seatWei(), 299 ether + 1);
        assertEq(oracle.seatOf(service, 0).locks, 0);
        IOracle.Round memory round = lens.roundOf(lens.idOf(req));
        assertEq(round.firstTurn, 1);
        assertEq(round.startsAt, vm.getBlockTimestamp());
    }

    function test_rule__annulled__may_pay_all_of_it() external {
        (IOracle.Request memory req, IOracle.Answer memory ans) = _disputed();
        _rule(req, ans, IOracle.Ruling.Annulled, 0.1 ether, 0.3 ether);
        assertEq(oracle.credit(payer), 0.3 ether);
        assertEq(oracle.credit(BURN), 0);
        assertEq(_seatWei(), 299.9 ether);
    }

    function test_rule__upheld__slashes_nothing_and_the_answer_stands() external {
        (IOracle.Request memory req, IOracle.Answer memory ans) = _disputed();
        vm.expectRevert(abi.encodeWithSelector(IOracle.SlashTooLarge.selector, 1, 0));
        this.ruled(req, ans, IOracle.Ruling.Upheld, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(IServices.NotArbiter.selector, service, payer));
        vm.prank(payer);
        oracle.rule(req, ans, IOracle.Ruling.Upheld, 0, new IOracle.Payout[](0));
        _rule(req, ans, IOracle.Ruling.Upheld, 0, 0);
        assertEq(uint8(oracle.statusOf(lens.idOf(req))), uint8(IOracle.Status.Answered));
        assertEq(_seatWei(), 299 ether);
        assertEq(oracle.credit(BURN), 0.2 ether);
    }

    /// @dev One call, for what must revert.
    function ruled(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IOracle.Ruling ruling,
        uint72 slashWei,
        uint256 paidWei
    ) external {
        _rule(req, ans, ruling, slashWei, paidWei);
    }
}
