// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {BURN} from "../../contracts/interfaces/ICredits.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {OneOperator} from "./OneOperator.sol";

/// @title Turns after a ruling: a new round, which begins with the ruling and counts on from the answer's turn.
contract Rounds is OneOperator {
    uint256 private constant SEAT_COUNT = 3;

    uint256 private ruledIn;
    uint256 private ruledAt;

    /// @dev Time passes, with a block every twelve seconds.
    function _pass(uint256 time) private {
        vm.roll(vm.getBlockNumber() + time / BLOCK_SECONDS);
        skip(time);
    }

    function _crowd() private {
        for (uint16 seat = 1; seat < SEAT_COUNT; ++seat) {
            assertEq(_joined(), seat);
        }
        _blocks(1);
    }

    function _annul(IOracle.Request memory req, IOracle.Answer memory ans) private {
        _rule(req, ans, IOracle.Ruling.Annulled, 0, 0.2 ether);
        (ruledIn, ruledAt) = (vm.getBlockNumber(), vm.getBlockTimestamp());
    }

    function _dispute(IOracle.Request memory req, IOracle.Answer memory ans) private {
        vm.prank(address(arbiter));
        oracle.dispute(req, ans);
    }

    /// @dev A request whose first answer, of its first turn, is annulled so long after the question.
    function _annulled(uint256 time) private returns (IOracle.Request memory req) {
        req = _ask("Hello");
        _pass(36);
        IOracle.Answer memory ans = _answer(req);
        _dispute(req, ans);
        _pass(time - 36);
        _annul(req, ans);
    }

    function test_rule__annulled__the_turns_after_it_begin_with_the_ruling() external {
        IOracle.Request memory req = _annulled(230);
        uint256 start = vm.snapshotState();
        for (uint32 turns; turns < 5; ++turns) {
            IOracle.Round memory round = lens.roundOf(lens.idOf(req));
            assertEq(abi.encode(round), abi.encode(IOracle.Round({firstTurn: 1, startsAt: uint48(ruledAt)})));
            _pass(60 * turns); // the first second of a turn
            (uint32 turn,,) = lens.turnOf(req);
            assertEq(turn, 1 + turns);
            _pass(59); // and the last
            assertEq(lens.unpackAnswer(_answer(req)).turn, 1 + turns);
            vm.revertToState(start);
        }
    }

    /// @dev However long the dispute was: its time is nobody's turn.
    function test_answer__first_turn_after_a_ruling__costs_nobody_but_the_answerer_s_bond() external {
        _crowd();
        IOracle.Request memory req = _annulled(480);
        _pass(59);
        IOracle.Answer memory ans = _answer(req);
        for (uint16 seat; seat < SEAT_COUNT; ++seat) {
            assertEq(_seatWei(seat), seat == lens.unpackAnswer(ans).seat ? SEAT_WEI - terms.bondWei : SEAT_WEI);
        }
        assertEq(oracle.burnable(), 0);
    }

    /// @dev The rule in other words: the seat of each turn since the ruling, except the one that answers, loses the
    /// penalty, up to half the base price in all; the one that answers loses their sum; twice the sum is burnt.
    function test_answer__turns_missed_after_a_ruling__their_seats_are_fined_and_the_answerer_gives_up_as_much()
        external
    {
        _crowd();
        IOracle.Request memory req = _annulled(230);
        uint256 start = vm.snapshotState();
        uint256 most;
        for (uint32 missed; missed < 6; ++missed) {
            _pass(60 * uint256(missed));
            uint256[] memory expectedWei = _expected(req, 1, 1 + missed, terms.basePriceWei / 2);
            IOracle.Answer memory ans = _answer(req);
            assertEq(lens.unpackAnswer(ans).turn, 1 + missed);
            expectedWei[lens.unpackAnswer(ans).seat] += terms.bondWei;
            uint256 lostWei;
            for (uint16 seat; seat < SEAT_COUNT; ++seat) {
                assertEq(_seatWei(seat), SEAT_WEI - expectedWei[seat]);
                lostWei += expectedWei[seat];
            }
            assertEq(oracle.credit(BURN), lostWei - terms.bondWei);
            if (most < lostWei - terms.bondWei) most = lostWei - terms.bondWei;
            _dispute(req, ans);
            _annul(req, ans);
            assertEq(lens.roundOf(lens.idOf(req)).firstTurn, 2 + missed, "counts on from the answer's turn");
            vm.revertToState(start);
        }
        assertEq(most, terms.basePriceWei, "fines reached their limit");
    }

    /// @dev By seat: what it loses beside a bond if the seat of turn `end` answers, after turns from `first` on.
    function _expected(IOracle.Request memory req, uint32 first, uint32 end, uint256 leftWei)
        private
        view
        returns (uint256[] memory lostWei)
    {
        lostWei = new uint256[](SEAT_COUNT);
        uint256 answerer = _seatOf(req, end);
        for (uint32 turn = first; turn < end; ++turn) {
            uint256 seat = _seatOf(req, turn);
            if (seat == answerer) continue;
            uint256 fineWei = leftWei < terms.missPenaltyWei ? leftWei : terms.missPenaltyWei;
            leftWei -= fineWei;
            lostWei[seat] += fineWei;
            lostWei[answerer] += fineWei;
        }
    }

    /// @dev Seats stand in the places of their numbers.
    function _seatOf(IOracle.Request memory req, uint32 turn) private view returns (uint256) {
        return uint256(keccak256(abi.encode(blockhash(askedIn + 2), lens.idOf(req), turn))) % SEAT_COUNT;
    }

    /// @dev A whole turn since the ruling may have had no block, however many there were before it.
    function test_refund__chain_may_have_stood_still_since_the_ruling__nobody_loses_anything() external {
        IOracle.Request memory req = _annulled(230);
        uint256 start = vm.snapshotState();
        for (uint256 more = 59; more < 61; ++more) {
            vm.roll(ruledIn + 1 + 40);
            vm.warp(ruledAt + 40 * BLOCK_SECONDS + more);
            assertEq(_refundNow(req).length, more == 59 ? 3 : 0);
            assertEq(SEAT_WEI - _seatWei(), more == 59 ? terms.basePriceWei / 2 : 0);
            vm.revertToState(start);
        }
    }

    /// @dev Only turns of the new round that ended by the deadline are missed.
    function test_refund__ruling_around_the_deadline__costs_the_turns_that_ended_between() external {
        uint256 start = vm.snapshotState();
        uint256[7] memory ruled = [uint256(479), 480, 540, 541, 600, 601, 900];
        uint256[7] memory missed = [uint256(2), 2, 1, 0, 0, 0, 0];
        for (uint256 i; i < 7; ++i) {
            (uint256 feeWei,,) = oracle.quote(service, 5, _params(8, 0));
            IOracle.Request memory req = _annulled(ruled[i]);
            uint256 before = oracle.credit(payer);
            _pass(ruled[i] > 600 ? 0 : 601 - ruled[i]);
            assertEq(_refundNow(req).length, missed[i]);
            assertEq(oracle.credit(payer) - before, feeWei - missed[i] * terms.missPenaltyWei);
            assertEq(_seatWei(), SEAT_WEI - missed[i] * terms.missPenaltyWei);
            vm.revertToState(start);
        }
    }

    /// @dev The ruling itself brings the bond back, in a turn counted from 1970 that the first turn after it begins in.
    function test_refund__seat_was_short_until_the_ruling__its_first_turn_costs_nothing() external {
        uint256 start = vm.snapshotState();
        for (uint256 second; second < 60; second += 59) {
            skip(60 - vm.getBlockTimestamp() % 60 + second);
            _leave(1.9995 ether);
            assertEq(_missed(_annulled(240))[0], 2);
            vm.revertToState(start);
            skip(60 - vm.getBlockTimestamp() % 60 + second);
            _leave(2 ether);
            assertEq(_missed(_annulled(240))[0], 1, "never short");
            vm.revertToState(start);
        }
    }

    function _missed(IOracle.Request memory req) private returns (uint256[] memory) {
        _pass(361);
        return _refundNow(req);
    }
}
