// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {BURN, ICredits} from "../../contracts/interfaces/ICredits.sol";
import {ModelId, ServiceId} from "../../contracts/interfaces/Ids.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IPanelArbiter} from "../../contracts/interfaces/IPanelArbiter.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {MockArbiter} from "../../contracts/mocks/MockArbiter.sol";
import {World} from "./World.sol";

/// @title What services and seats refuse, on both sides of every border, and what they keep of what they take.
contract Refusals is World {
    uint256 private constant SEAT_WEI = 10 ether;

    MockArbiter private arbiter;
    ServiceId private another; // whose arbiter speaks through this contract
    address private owner = makeAddr("owner");
    address private operator = makeAddr("operator");
    address private stranger = makeAddr("stranger");

    function setUp() external {
        _deploy();
        arbiter = new MockArbiter(1000);
        (terms.arbiter, terms.arbiterTerms) = (arbiter, "");
        another = oracle.createService(terms);
    }

    /* SERVICES */

    function _taken(IServices.Terms memory t) private {
        ServiceId created = oracle.createService(t);
        assertEq(ServiceId.unwrap(created), keccak256(abi.encode(t)));
        assertEq(address(oracle.arbiterOf(created)), address(t.arbiter));
        assertEq(oracle.attesterOf(created), t.attester);
    }

    function _refused(IServices.Terms memory t, bytes memory why) private {
        vm.expectRevert(why);
        oracle.createService(t);
    }

    function test_createService__times_at_their_borders__are_taken_and_beyond_refused() external {
        IServices.Terms memory t = terms;
        t.turnSeconds = 37; // three blocks of twelve seconds, and one second
        _taken(t);
        t.turnSeconds = 36;
        _refused(t, abi.encodeWithSelector(IServices.TurnTooShort.selector, 36, 37));
        t = terms;
        t.windowSeconds = 1;
        _taken(t);
        t.windowSeconds = 30 days;
        _taken(t);
        ++t.windowSeconds;
        _refused(t, abi.encodeWithSelector(IServices.WindowOutOfRange.selector, 30 days + 1, 30 days));
        t.windowSeconds = 0;
        _refused(t, abi.encodeWithSelector(IServices.WindowOutOfRange.selector, 0, 30 days));
        t = terms;
        t.lifetimeSeconds = t.turnSeconds;
        _taken(t);
        --t.lifetimeSeconds;
        _refused(t, abi.encodeWithSelector(IServices.LifetimeOutOfRange.selector, 59, 60, 60 * 33 - 1));
        t.lifetimeSeconds = 60 * 33 - 1; // 32 turns can pass
        _taken(t);
        ++t.lifetimeSeconds;
        _refused(t, abi.encodeWithSelector(IServices.LifetimeOutOfRange.selector, 60 * 33, 60, 60 * 33 - 1));
        (t.turnSeconds, t.lifetimeSeconds) = (1 hours, 1 days);
        _taken(t);
        ++t.lifetimeSeconds;
        _refused(t, abi.encodeWithSelector(IServices.LifetimeOutOfRange.selector, 1 days + 1, 1 hours, 1 days));
    }

    function test_createService__sums_at_their_borders__are_taken_and_beyond_refused() external {
        IServices.Terms memory t = terms;
        t.seatWei = t.bondWei;
        _taken(t);
        --t.seatWei;
        _refused(t, abi.encodeWithSelector(IServices.SeatBelowBond.selector, t.seatWei, t.bondWei));
        t = terms;
        t.bondWei = 1;
        _taken(t);
        t.bondWei = 0;
        _refused(t, abi.encodeWithSelector(IServices.NoBond.selector));
        t = terms;
        t.minOwners = 1;
        _taken(t);
        t.minOwners = 0;
        _refused(t, abi.encodeWithSelector(IServices.NoOwners.selector));
        t = terms;
        (t.maxPromptBytes, t.maxTokens) = (1, 1);
        _taken(t);
        t.maxTokens = 0;
        _refused(t, abi.encodeWithSelector(IServices.NoRoom.selector, 1, 0));
        (t.maxPromptBytes, t.maxTokens) = (0, 1);
        _refused(t, abi.encodeWithSelector(IServices.NoRoom.selector, 0, 1));
    }

    /// @dev The greatest fee has 96 bits.
    function test_quote__fee_at_its_border__is_told_and_beyond_refused() external {
        IServices.Terms memory t = terms;
        (t.basePriceWei, t.bytePriceWei, t.tokenPriceWei) = (type(uint64).max, type(uint64).max, type(uint32).max);
        (t.maxPromptBytes, t.maxTokens) = (type(uint32).max, 2);
        ServiceId dear = oracle.createService(t);
        (uint256 feeWei,,) = oracle.quote(dear, type(uint32).max, _params(1, 0));
        assertEq(feeWei, type(uint96).max);
        feeWei += type(uint32).max;
        vm.expectRevert(abi.encodeWithSelector(IOracle.WrongFee.selector, feeWei, type(uint96).max));
        oracle.quote(dear, type(uint32).max, _params(2, 0));
    }

    function test_createService__unknown_model_or_known_terms__are_refused() external {
        IServices.Terms memory t = terms;
        _refused(t, abi.encodeWithSelector(IServices.ServiceExists.selector, another));
        t.model = ModelId.wrap(keccak256("unknown"));
        _refused(t, abi.encodeWithSelector(IServices.UnknownModel.selector, t.model));
    }

    function test_createService__without_attester__asks_none() external {
        IServices.Terms memory t = terms;
        t.attester = address(0);
        _taken(t);
        t.attester = address(registry); // has no `adopt`
        vm.expectRevert();
        oracle.createService(t);
    }

    /// @dev Each word of the panel's terms at its border, where the service's own terms leave room.
    function test_createService__panel_at_its_borders__is_taken_and_beyond_refused() external {
        IPanelArbiter.PanelTerms memory p = panelTerms;
        p.panelSize = 2;
        _panelRefused(p, abi.encodeWithSelector(IPanelArbiter.EvenPanel.selector, 2));
        p.panelSize = 65;
        _panelRefused(p, abi.encodeWithSelector(IPanelArbiter.PanelTooLarge.selector, 65, 63));
        p.panelSize = 5;
        _panelRefused(p, abi.encodeWithSelector(IPanelArbiter.TooFewOwners.selector, 5, 7));
        p = panelTerms;
        p.voteFeeWei = 0;
        _panelRefused(p, abi.encodeWithSelector(IPanelArbiter.NoVoteFee.selector));
        p = panelTerms;
        p.absencePenaltyWei = 0;
        _panelRefused(p, abi.encodeWithSelector(IPanelArbiter.NoAbsencePenalty.selector));
        p.absencePenaltyWei = 1 ether;
        _panelTaken(p);
        ++p.absencePenaltyWei;
        _panelRefused(p, abi.encodeWithSelector(IPanelArbiter.SeatTooSmall.selector, 2 ether, 2 ether + 1));
        p = panelTerms;
        p.challengeBondWei = 0.03 ether;
        _panelTaken(p);
        --p.challengeBondWei;
        _panelRefused(
            p, abi.encodeWithSelector(IPanelArbiter.ChallengeBondTooSmall.selector, p.challengeBondWei, 0.03 ether)
        );
        p = panelTerms;
        (p.voteFeeWei, p.challengeBondWei) = (uint72(terms.bondWei) / 12, 0.3 ether);
        _panelTaken(p);
        p.voteFeeWei += 1;
        _panelRefused(
            p, abi.encodeWithSelector(IPanelArbiter.BondTooSmall.selector, terms.bondWei, 12 * uint256(p.voteFeeWei))
        );
        (p.voteFeeWei, terms.bondWei) = (0.05 ether, 0.6 ether); // four times the fees, to the wei
        _panelTaken(p);
    }

    function test_createService__panel_s_times_at_their_borders__are_taken_and_beyond_refused() external {
        IPanelArbiter.PanelTerms memory p = panelTerms;
        (p.commitSeconds, p.revealSeconds) = (1, 1);
        _panelTaken(p);
        (p.commitSeconds, p.revealSeconds) = (7 days, 7 days);
        _panelTaken(p);
        ++p.commitSeconds;
        _votingRefused(p);
        (p.commitSeconds, p.revealSeconds) = (7 days, 7 days + 1);
        _votingRefused(p);
        (p.commitSeconds, p.revealSeconds) = (0, 100);
        _votingRefused(p);
        (p.commitSeconds, p.revealSeconds) = (100, 0);
        _votingRefused(p);
    }

    function _votingRefused(IPanelArbiter.PanelTerms memory p) private {
        _panelRefused(
            p,
            abi.encodeWithSelector(
                IPanelArbiter.VotingOutOfRange.selector, p.commitSeconds, p.revealSeconds, uint256(7 days)
            )
        );
    }

    function _panelTaken(IPanelArbiter.PanelTerms memory p) private {
        IServices.Terms memory t = terms;
        (t.arbiter, t.arbiterTerms) = (panel, abi.encode(p));
        _taken(t);
        ServiceId created = ServiceId.wrap(keccak256(abi.encode(t)));
        assertEq(abi.encode(panel.termsOf(created)), abi.encode(p));
        // A seat that leaves stays for the longest request, its window, and the longest dispute.
        uint256 leaveSeconds =
            uint256(t.lifetimeSeconds) + t.windowSeconds + 1 hours + p.commitSeconds + p.revealSeconds;
        vm.deal(owner, SEAT_WEI);
        vm.startPrank(owner);
        uint16 seat = oracle.join{value: SEAT_WEI}(created, operator);
        skip(t.lifetimeSeconds);
        oracle.activate(created, seat);
        oracle.announceExit(created, seat);
        vm.stopPrank();
        assertEq(oracle.seatOf(created, seat).readyAt, vm.getBlockTimestamp() + leaveSeconds);
    }

    function _panelRefused(IPanelArbiter.PanelTerms memory p, bytes memory why) private {
        IServices.Terms memory t = terms;
        (t.arbiter, t.arbiterTerms) = (panel, abi.encode(p));
        _refused(t, why);
    }

    function test_adopt__anybody_but_the_oracle__is_refused() external {
        vm.expectRevert(abi.encodeWithSelector(IPanelArbiter.NotOracle.selector, address(this)));
        panel.adopt(another, terms);
    }

    /* SEATS */

    function _joined(uint256 amountWei) private returns (uint16 seat) {
        vm.deal(owner, amountWei);
        vm.prank(owner);
        return oracle.join{value: amountWei}(another, operator);
    }

    function _active(uint256 amountWei) private returns (uint16 seat) {
        seat = _joined(amountWei);
        skip(terms.lifetimeSeconds);
        oracle.activate(another, seat);
    }

    function _is(uint16 seat, uint256 balanceWei, uint16 locks, IServices.SeatStatus status, uint256 readyAt)
        private
        view
    {
        IServices.Seat memory expected =
            IServices.Seat(owner, operator, uint72(balanceWei), locks, status, uint48(readyAt));
        assertEq(abi.encode(oracle.seatOf(another, seat)), abi.encode(expected));
    }

    function _status(uint16 seat, IServices.SeatStatus status) private view returns (bytes memory) {
        return abi.encodeWithSelector(IServices.WrongSeatStatus.selector, another, seat, status);
    }

    function test_join__deposits_at_their_borders__are_kept_and_beyond_refused() external {
        uint256 readyAt = vm.getBlockTimestamp() + terms.lifetimeSeconds;
        _is(_joined(terms.seatWei), terms.seatWei, 0, IServices.SeatStatus.Joining, readyAt);
        _is(_joined(type(uint72).max), type(uint72).max, 0, IServices.SeatStatus.Joining, readyAt);
        uint256 tooMuchWei = uint256(type(uint72).max) + 1;
        vm.deal(owner, tooMuchWei);
        vm.expectRevert(abi.encodeWithSelector(IServices.SeatBalanceTooLarge.selector, tooMuchWei, type(uint72).max));
        vm.prank(owner);
        oracle.join{value: tooMuchWei}(another, operator);
        vm.expectRevert(abi.encodeWithSelector(IServices.DepositTooSmall.selector, terms.seatWei, terms.seatWei - 1));
        vm.prank(owner);
        oracle.join{value: terms.seatWei - 1}(another, operator);
        ServiceId unknown = ServiceId.wrap(keccak256("unknown"));
        vm.expectRevert(abi.encodeWithSelector(IServices.UnknownService.selector, unknown));
        vm.prank(owner);
        oracle.join{value: 1 ether}(unknown, operator);
    }

    function test_activate__one_second_early_or_twice__is_refused() external {
        uint16 seat = _joined(SEAT_WEI);
        assertEq(oracle.placesOf(another), 0);
        uint48 readyAt = uint48(vm.getBlockTimestamp() + terms.lifetimeSeconds);
        vm.warp(readyAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IServices.NotReadyYet.selector, readyAt));
        oracle.activate(another, seat);
        vm.warp(readyAt);
        oracle.activate(another, seat);
        _is(seat, SEAT_WEI, 0, IServices.SeatStatus.Active, readyAt);
        assertEq(oracle.placesOf(another), 1);
        vm.expectRevert(_status(seat, IServices.SeatStatus.Active));
        oracle.activate(another, seat);
    }

    /// @dev Several seats of one owner count once, until the last of them is gone.
    function test_counts__seats_of_one_owner__are_one_owner() external {
        _active(SEAT_WEI);
        _active(SEAT_WEI);
        (uint16 taken, uint16 ownerCount) = oracle.counts(another);
        assertEq(abi.encode(taken, ownerCount), abi.encode(2, 1));
        vm.prank(owner);
        oracle.announceExit(another, 0);
        (taken, ownerCount) = oracle.counts(another);
        assertEq(abi.encode(taken, ownerCount), abi.encode(2, 1));
        vm.prank(owner);
        oracle.announceExit(another, 1);
        (taken, ownerCount) = oracle.counts(another);
        assertEq(abi.encode(taken, ownerCount), abi.encode(2, 0));
    }

    function test_exit__early_or_locked_or_another_s__is_refused_and_then_pays_the_owner_once() external {
        uint16 seat = _joined(SEAT_WEI);
        vm.startPrank(owner);
        vm.expectRevert(_status(seat, IServices.SeatStatus.Joining));
        oracle.announceExit(another, seat);
        skip(terms.lifetimeSeconds);
        oracle.activate(another, seat);
        vm.expectRevert(_status(seat, IServices.SeatStatus.Active));
        oracle.exit(another, seat);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(IServices.NotSeatOwner.selector, another, seat, owner));
        vm.prank(operator);
        oracle.announceExit(another, seat);
        vm.prank(address(arbiter));
        oracle.lockSeat(another, seat);
        vm.startPrank(owner);
        oracle.announceExit(another, seat);
        uint48 readyAt = uint48(vm.getBlockTimestamp()) + terms.lifetimeSeconds + terms.windowSeconds + 1000;
        vm.expectRevert(_status(seat, IServices.SeatStatus.Leaving));
        oracle.announceExit(another, seat);
        vm.warp(readyAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IServices.NotReadyYet.selector, readyAt));
        oracle.exit(another, seat);
        vm.warp(readyAt);
        vm.expectRevert(abi.encodeWithSelector(IServices.SeatLocked.selector, another, seat, 1));
        oracle.exit(another, seat);
        vm.stopPrank();
        vm.prank(address(arbiter));
        oracle.unlockSeat(another, seat, 0);
        vm.expectRevert(abi.encodeWithSelector(IServices.NotSeatOwner.selector, another, seat, owner));
        vm.prank(stranger);
        oracle.exit(another, seat);
        vm.prank(owner);
        oracle.exit(another, seat);
        assertEq(oracle.credit(owner), SEAT_WEI);
        IServices.Seat memory none;
        assertEq(abi.encode(oracle.seatOf(another, seat)), abi.encode(none));
        assertEq(_joined(SEAT_WEI), seat, "the vacancy is taken first");
        assertEq(_joined(SEAT_WEI), seat + 1);
    }

    function test_withdrawFromSeat__down_to_the_deposit__is_credited_and_a_wei_more_refused() external {
        uint16 seat = _active(SEAT_WEI);
        uint72 surplusWei = uint72(SEAT_WEI) - terms.seatWei;
        vm.expectRevert(
            abi.encodeWithSelector(IServices.InsufficientSeatBalance.selector, another, seat, SEAT_WEI, SEAT_WEI + 1)
        );
        vm.prank(owner);
        oracle.withdrawFromSeat(another, seat, surplusWei + 1);
        vm.expectRevert(abi.encodeWithSelector(IServices.NotSeatOwner.selector, another, seat, owner));
        vm.prank(operator);
        oracle.withdrawFromSeat(another, seat, 1);
        vm.prank(owner);
        oracle.withdrawFromSeat(another, seat, surplusWei);
        assertEq(oracle.credit(owner), surplusWei);
        assertEq(oracle.seatOf(another, seat).balanceWei, terms.seatWei);
    }

    function test_setOperator__another_s_seat__is_refused() external {
        uint16 seat = _active(SEAT_WEI);
        vm.expectRevert(abi.encodeWithSelector(IServices.NotSeatOwner.selector, another, seat, owner));
        vm.prank(operator);
        oracle.setOperator(another, seat, stranger);
        vm.prank(owner);
        oracle.setOperator(another, seat, stranger);
        assertEq(oracle.operatorOf(another, seat), stranger);
    }

    function test_locks__joining_seat_or_another_s_arbiter__are_refused() external {
        uint16 seat = _joined(SEAT_WEI);
        vm.startPrank(address(arbiter));
        vm.expectRevert(_status(seat, IServices.SeatStatus.Joining));
        oracle.lockSeat(another, seat);
        skip(terms.lifetimeSeconds);
        oracle.activate(another, seat);
        uint256 readyAt = vm.getBlockTimestamp();
        oracle.lockSeat(another, seat);
        oracle.lockSeat(another, seat);
        _is(seat, SEAT_WEI, 2, IServices.SeatStatus.Active, readyAt);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(IServices.NotArbiter.selector, another, stranger));
        vm.prank(stranger);
        oracle.lockSeat(another, seat);
        vm.expectRevert(abi.encodeWithSelector(IServices.NotArbiter.selector, another, stranger));
        vm.prank(stranger);
        oracle.unlockSeat(another, seat, 1);
    }

    function test_fine__any_amount__is_burnt_up_to_the_balance_and_a_drained_seat_leaves_the_draw() external {
        uint16 seat = _active(SEAT_WEI);
        uint256 readyAt = vm.getBlockTimestamp();
        vm.expectRevert(abi.encodeWithSelector(IServices.NotDrained.selector, another, seat, SEAT_WEI, 0));
        oracle.suspend(another, seat);
        vm.startPrank(address(arbiter));
        oracle.lockSeat(another, seat);
        oracle.lockSeat(another, seat);
        uint72 leftWei = terms.bondWei;
        oracle.unlockSeat(another, seat, uint72(SEAT_WEI) - leftWei);
        _is(seat, leftWei, 1, IServices.SeatStatus.Active, readyAt);
        assertEq(oracle.credit(BURN), SEAT_WEI - leftWei);
        oracle.unlockSeat(another, seat, leftWei + 1);
        vm.stopPrank();
        _is(seat, 0, 0, IServices.SeatStatus.Suspended, readyAt);
        assertEq(oracle.credit(BURN), SEAT_WEI);
        assertEq(oracle.burnable(), SEAT_WEI);
        assertEq(oracle.placesOf(another), 0);
        vm.expectRevert(abi.encodeWithSelector(IServices.NotDrained.selector, another, seat, 0, 0));
        oracle.suspend(another, seat);
        vm.prank(address(arbiter));
        vm.expectRevert(); // no duty is left
        oracle.unlockSeat(another, seat, 0);
    }

    function test_unlockSeat__no_fine__says_nothing_of_one() external {
        uint16 seat = _active(SEAT_WEI);
        vm.startPrank(address(arbiter));
        oracle.lockSeat(another, seat);
        oracle.lockSeat(another, seat);
        vm.recordLogs();
        oracle.unlockSeat(another, seat, 0);
        assertEq(vm.getRecordedLogs().length, 0);
        oracle.unlockSeat(another, seat, 1);
        vm.stopPrank();
        assertEq(oracle.burnable(), 1);
        assertEq(oracle.seatOf(another, seat).locks, 0);
    }

    function test_topUp__suspended_seat__is_drawn_again_once_it_has_a_bond() external {
        uint16 seat = _active(terms.seatWei);
        vm.startPrank(address(arbiter));
        oracle.lockSeat(another, seat);
        oracle.unlockSeat(another, seat, terms.seatWei);
        vm.stopPrank();
        skip(100);
        uint256 startedAt = vm.getBlockTimestamp() - 100;
        vm.deal(stranger, 10_000 ether);
        vm.startPrank(stranger);
        oracle.topUp{value: terms.bondWei - 1}(another, seat);
        _is(seat, terms.bondWei - 1, 0, IServices.SeatStatus.Suspended, startedAt);
        oracle.topUp{value: 1}(another, seat);
        _is(seat, terms.bondWei, 0, IServices.SeatStatus.Active, vm.getBlockTimestamp());
        uint256 mostWei = uint256(type(uint72).max) - terms.bondWei;
        vm.expectRevert(
            abi.encodeWithSelector(
                IServices.SeatBalanceTooLarge.selector, uint256(type(uint72).max) + 1, type(uint72).max
            )
        );
        oracle.topUp{value: mostWei + 1}(another, seat);
        oracle.topUp{value: mostWei}(another, seat);
        assertEq(oracle.seatOf(another, seat).balanceWei, type(uint72).max);
        vm.expectRevert(_status(7, IServices.SeatStatus.Empty));
        oracle.topUp{value: 1}(another, 7);
        vm.stopPrank();
    }

    /* CREDITS */

    function test_withdraw__a_wei_more_than_credited_or_to_who_takes_none__is_refused() external {
        vm.deal(stranger, 5 ether);
        vm.startPrank(stranger);
        oracle.deposit{value: 5 ether}(owner);
        vm.expectRevert(abi.encodeWithSelector(ICredits.InsufficientCredit.selector, stranger, 0, 1));
        oracle.withdraw(payable(stranger), 1);
        vm.stopPrank();
        vm.startPrank(owner);
        vm.expectRevert(abi.encodeWithSelector(ICredits.InsufficientCredit.selector, owner, 5 ether, 5 ether + 1));
        oracle.withdraw(payable(owner), 5 ether + 1);
        vm.expectRevert(abi.encodeWithSelector(ICredits.TransferFailed.selector, address(registry), 1));
        oracle.withdraw(payable(address(registry)), 1);
        oracle.withdraw(payable(stranger), 2 ether);
        vm.stopPrank();
        assertEq(stranger.balance, 2 ether);
        assertEq(oracle.credit(owner), 3 ether);
    }

    function test_burn__what_was_fined__leaves_once() external {
        uint16 seat = _active(SEAT_WEI);
        vm.startPrank(address(arbiter));
        oracle.lockSeat(another, seat);
        oracle.unlockSeat(another, seat, 3 ether);
        vm.stopPrank();
        uint256 before = BURN.balance;
        oracle.burn();
        assertEq(BURN.balance, before + 3 ether);
        assertEq(oracle.burnable(), 0);
        oracle.burn();
        assertEq(BURN.balance, before + 3 ether);
    }
}
