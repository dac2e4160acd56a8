// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IArbiter} from "../../contracts/interfaces/IArbiter.sol";
import {ServiceStore} from "../../contracts/ServiceStore.sol";
import {Ledger} from "./Ledger.sol";

/// @title Deposits, withdrawals and seats: what goes in is what is credited, and what is credited goes out once.
contract CreditsConservation is Ledger {
    function check_deposit(address from, uint256 amountWei, uint256 creditWei) external {
        vm.assume(amountWei < MOST_WEI && from != address(books));
        address to = _cast(0, creditWei);
        vm.deal(from, amountWei);
        uint256 beforeWei = _creditsWei();
        vm.prank(from);
        books.deposit{value: amountWei}(to);
        assertEq(_creditsWei(), beforeWei + amountWei);
        assertEq(address(books).balance, amountWei);
    }

    function check_withdraw(address payable to, uint256 amountWei, uint256 creditWei) external {
        vm.assume(to != address(books) && to.code.length == 0);
        address account = _cast(0, creditWei);
        vm.deal(address(books), creditWei);
        uint256 toWei = to.balance;
        vm.prank(account);
        books.withdraw(to, amountWei);
        assertEq(books.credit(account), creditWei - amountWei);
        assertEq(to.balance, toWei + amountWei);
        assertEq(address(books).balance, creditWei - amountWei);
    }

    function check_burn(address caller, uint256 creditWei) external {
        _account(BURN, creditWei);
        vm.deal(address(books), creditWei);
        uint256 burntWei = BURN.balance;
        vm.prank(caller);
        books.burn();
        assertEq(books.credit(BURN), 0);
        assertEq(BURN.balance, burntWei + creditWei);
        assertEq(address(books).balance, 0);
    }

    /* SEATS */

    function check_join(address owner, address operator, ServiceStore.Service memory service, uint256 amountWei)
        external
    {
        vm.deal(owner, amountWei);
        books.setService(SERVICE, service);
        vm.prank(owner);
        uint16 seat = books.join{value: amountWei}(SERVICE, operator);
        assertEq(_seatWei(seat), amountWei);
    }

    function check_topUp(address from, uint16 seat, ServiceStore.SeatState memory state, uint256 amountWei) external {
        vm.assume(amountWei < MOST_WEI);
        ServiceStore.Service memory service;
        (service.rules.bondWei, service.rules.turnSeconds) = (1 ether, 60);
        books.setService(SERVICE, service);
        books.setSeat(SERVICE, seat, state);
        vm.deal(from, amountWei);
        vm.prank(from);
        books.topUp{value: amountWei}(SERVICE, seat);
        assertEq(_seatWei(seat), state.money.balanceWei + amountWei);
    }

    function check_withdrawFromSeat(
        uint16 seat,
        ServiceStore.SeatState memory state,
        uint72 seatWei,
        uint72 amountWei,
        uint256 creditWei
    ) external {
        ServiceStore.Service memory service;
        service.seatWei = seatWei;
        books.setService(SERVICE, service);
        state.owner = _cast(0, creditWei);
        books.setSeat(SERVICE, seat, state);
        vm.prank(state.owner);
        books.withdrawFromSeat(SERVICE, seat, amountWei);
        assertEq(_seatWei(seat) + _creditsWei(), state.money.balanceWei + creditWei);
        assertGe(_seatWei(seat), seatWei);
    }

    function check_exit(uint16 seat, ServiceStore.SeatState memory state, uint256 creditWei) external {
        state.owner = _cast(0, creditWei);
        books.setSeat(SERVICE, seat, state);
        vm.prank(state.owner);
        books.exit(SERVICE, seat);
        assertEq(_seatWei(seat), 0);
        assertEq(_creditsWei(), creditWei + state.money.balanceWei);
    }

    /// @dev A fine takes what a seat has and no more, and burns exactly that.
    function check_fine(
        address arbiter,
        ServiceStore.Service memory service,
        uint16 seat,
        ServiceStore.SeatState memory state,
        uint72 fineWei,
        uint256 burntWei
    ) external {
        service.arbiter = IArbiter(arbiter);
        books.setService(SERVICE, service);
        books.setSeat(SERVICE, seat, state);
        _account(BURN, burntWei);
        vm.prank(arbiter);
        books.unlockSeat(SERVICE, seat, fineWei);
        uint256 takenWei = state.money.balanceWei - _seatWei(seat);
        assertEq(takenWei, fineWei < state.money.balanceWei ? fineWei : state.money.balanceWei);
        assertEq(_creditsWei(), burntWei + takenWei);
    }
}
