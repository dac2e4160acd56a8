// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {OneOperator} from "./OneOperator.sol";

/// @title What a seat is paid when its balance is full, and what holds it: duties and open answers together.
contract SeatMoney is OneOperator {
    uint256 private constant FULL_WEI = type(uint72).max;

    /* A FULL SEAT */

    /// @dev For a prompt of five bytes, without its tokens.
    function _promptWei() private view returns (uint256) {
        return terms.basePriceWei + 5 * uint256(terms.bytePriceWei);
    }

    /// @dev An answer of the seat, which has all but `roomWei` of what it can hold.
    function _full(uint256 roomWei) private returns (IOracle.Request memory req, IOracle.Answer memory ans) {
        req = _ask("Hello");
        _blocks(3);
        ans = _answer(req);
        uint256 addedWei = FULL_WEI - roomWei - _seatWei();
        vm.deal(payer, addedWei + 1 ether);
        vm.prank(payer);
        oracle.topUp{value: addedWei}(service, 0);
    }

    function _split(uint256 seatWei, uint256 ownerWei) private view {
        assertEq(_seatWei(), seatWei);
        assertEq(oracle.credit(owner), ownerWei);
        assertEq(oracle.credit(operator), 0);
    }

    /// @dev An answer of two tokens.
    function test_finalize__seat_is_full__pays_its_owner_what_does_not_fit() external {
        uint256 backWei = terms.bondWei + _promptWei() + 2 * uint256(terms.tokenPriceWei);
        uint256[5] memory roomsWei = [uint256(0), 1, backWei - 1, backWei, backWei + 1];
        uint256 start = vm.snapshotState();
        for (uint256 i; i < roomsWei.length; ++i) {
            (IOracle.Request memory req, IOracle.Answer memory ans) = _full(roomsWei[i]);
            skip(terms.windowSeconds + 1);
            _finalize(req, ans);
            if (roomsWei[i] < backWei) _split(FULL_WEI, backWei - roomsWei[i]);
            else _split(FULL_WEI - (roomsWei[i] - backWei), 0);
            vm.revertToState(start);
        }
    }

    function test_finalize__one_token_of_one_wei_is_unused__goes_back_to_the_payer() external {
        terms.tokenPriceWei = 1;
        _open();
        IOracle.Request memory req = _ask("Hello", _params(3, 0));
        _blocks(3);
        IOracle.Answer memory ans = _answer(req);
        skip(terms.windowSeconds + 1);
        _finalize(req, ans);
        assertEq(oracle.credit(payer), 1);
        assertEq(_seatWei(), SEAT_WEI + _promptWei() + 2);
    }

    function test_rule__seat_is_full__its_owner_gets_the_bond_back() external {
        (IOracle.Request memory req, IOracle.Answer memory ans) = _full(0.25 ether);
        vm.prank(address(arbiter));
        oracle.dispute(req, ans);
        _rule(req, ans, IOracle.Ruling.Annulled, 0.5 ether, 0);
        _split(FULL_WEI, terms.bondWei - 0.5 ether - 0.25 ether);
        assertEq(oracle.seatOf(service, 0).locks, 0);
    }

    /// @dev The price of the prompt goes to the seat in turn.
    function test_cancel__seat_is_full__pays_its_owner_what_does_not_fit() external {
        _full(100);
        IOracle.Request memory req = _ask("Hello");
        _blocks(3);
        vm.prank(payer);
        oracle.cancel(req);
        _split(FULL_WEI, _promptWei() - 100);
        assertEq(oracle.credit(payer), 8 * uint256(terms.tokenPriceWei), "the tokens, of which none was made");
    }

    /// @dev Nobody's seat, or one that cannot answer yet, is not paid: the payer gets everything back.
    function test_cancel__seat_was_given_up_since__all_goes_back_to_the_payer() external {
        IOracle.Request memory req = _ask("Hello");
        (uint256 feeWei,,) = oracle.quote(service, 5, _params(8, 0));
        vm.prank(owner);
        oracle.announceExit(service, 0);
        _blocks(3);
        vm.warp(oracle.seatOf(service, 0).readyAt);
        vm.prank(owner);
        oracle.exit(service, 0);
        uint256 start = vm.snapshotState();
        for (uint256 i; i < 2; ++i) {
            if (i == 1) {
                vm.deal(owner, SEAT_WEI);
                vm.prank(owner);
                oracle.join{value: SEAT_WEI}(service, operator);
            }
            vm.prank(payer);
            oracle.cancel(req);
            assertEq(oracle.credit(payer), feeWei);
            assertEq(_seatWei(), i * SEAT_WEI);
            vm.revertToState(start);
        }
    }

    /* DUTIES BESIDE OPEN ANSWERS */

    function _locks(uint16 count) private view {
        assertEq(oracle.seatOf(service, 0).locks, count);
    }

    function _duties(uint256 count) private {
        vm.startPrank(address(arbiter));
        for (uint256 i; i < count; ++i) {
            oracle.lockSeat(service, 0);
        }
        vm.stopPrank();
    }

    function _relieve(uint72 fineWei) private {
        vm.prank(address(arbiter));
        oracle.unlockSeat(service, 0, fineWei);
    }

    /// @dev More answers than duties, and then fewer.
    function test_exit__duties_and_answers_are_open__waits_for_every_one_of_them() external {
        IOracle.Request[2] memory reqs = [_ask("first"), _ask("second")];
        _blocks(3);
        IOracle.Answer[2] memory answers = [_answer(reqs[0]), _answer(reqs[1])];
        _duties(1);
        _locks(3);
        vm.prank(owner);
        oracle.announceExit(service, 0);
        vm.warp(oracle.seatOf(service, 0).readyAt);
        _stays(3);
        _finalize(reqs[0], answers[0]);
        _duties(2);
        _stays(4);
        _relieve(0);
        _relieve(0);
        _stays(2);
        _finalize(reqs[1], answers[1]);
        _stays(1);
        uint256 balanceWei = _seatWei();
        assertGt(balanceWei, SEAT_WEI, "both bonds and what both answers earned");
        _relieve(0.5 ether);
        vm.prank(owner);
        oracle.exit(service, 0);
        assertEq(oracle.credit(owner), balanceWei - 0.5 ether);
        assertEq(oracle.burnable(), 0.5 ether);
    }

    function _stays(uint16 locks) private {
        _locks(locks);
        vm.expectRevert(abi.encodeWithSelector(IServices.SeatLocked.selector, service, uint16(0), locks));
        vm.prank(owner);
        oracle.exit(service, 0);
    }

    /// @dev A fine takes no bond of an open answer: the bond comes back, and the seat goes on.
    function test_unlockSeat__fine_takes_all_beside_an_open_answer__seat_stays_in_the_draw() external {
        IOracle.Request memory req = _ask("Hello");
        _blocks(3);
        IOracle.Answer memory ans = _answer(req);
        _duties(1);
        _relieve(type(uint72).max);
        assertEq(oracle.burnable(), SEAT_WEI - terms.bondWei);
        _is(IServices.SeatStatus.Active, 1);
        skip(terms.windowSeconds + 1);
        _finalize(req, ans);
        assertGt(_seatWei(), terms.bondWei);
        _is(IServices.SeatStatus.Active, 1);
        _duties(1);
        _relieve(uint72(_seatWei()) - terms.bondWei + 1);
        _is(IServices.SeatStatus.Suspended, 0);
    }
}
