// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {RequestId} from "../../contracts/interfaces/Ids.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {Hostile} from "../../contracts/mocks/Hostile.sol";
import {MockArbiter} from "../../contracts/mocks/MockArbiter.sol";
import {World} from "./World.sol";

/// @title Callbacks that were left or failed: who may leave, retry and reclaim them, until when, and who gets their price.
/// @notice All turns are one seat's.
contract Callbacks is World {
    uint32 private constant CALLBACK_GAS = 200_000;
    uint256 private constant BOUNTY_WEI = (uint256(CALLBACK_GAS) + 60_000) * 1 gwei;

    /// @dev Until when a callback can be retried: the time a seat takes to leave, with an arbiter of 1000 s, and 30 days.
    uint256 private constant RETRIED_SECONDS = 600 + 120 + 1000 + 30 days;

    Hostile private consumer;
    address private operator = makeAddr("operator");
    address private stranger = makeAddr("stranger");
    RequestId private requestId;
    uint256 private closesAt;

    function setUp() external {
        _deploy();
        (terms.arbiter, terms.arbiterTerms, terms.minOwners) = (new MockArbiter(1000), "", 1);
        service = oracle.createService(terms);
        vm.deal(address(this), 100 ether);
        oracle.join{value: 10 ether}(service, operator);
        skip(terms.lifetimeSeconds);
        oracle.activate(service, 0);
        consumer = new Hostile();
        vm.roll(vm.getBlockNumber() + 1);
    }

    function _answered() private returns (IOracle.Item[] memory) {
        return _answered(CALLBACK_GAS);
    }

    /// @dev An answer whose window is open.
    function _answered(uint32 callbackGas) private returns (IOracle.Item[] memory items) {
        IOracle.Params memory params = _params(8, callbackGas);
        (uint256 feeWei, uint256 callbackWei,) = oracle.quote(service, 5, params);
        assertEq(callbackWei, (uint256(callbackGas) + 60_000) * 1 gwei);
        items = new IOracle.Item[](1);
        vm.recordLogs();
        consumer.execute{value: feeWei + callbackWei}(
            address(oracle), abi.encodeCall(IOracle.request, (service, "Hello", params))
        );
        (items[0].request,) =
            abi.decode(_event(vm.getRecordedLogs(), IOracle.RequestPosted.selector), (IOracle.Request, bytes));
        requestId = lens.idOf(items[0].request);
        vm.roll(vm.getBlockNumber() + 3);
        items[0].output = "yes";
        vm.prank(operator);
        oracle.answer(items[0].request, "yes", 8, 0, blockhash(vm.getBlockNumber() - 1));
        (items[0].answer,) =
            abi.decode(_event(vm.getRecordedLogs(), IOracle.AnswerPosted.selector), (IOracle.Answer, bytes));
        closesAt = vm.getBlockTimestamp() + terms.windowSeconds;
    }

    function _left() private returns (IOracle.Item[] memory items) {
        items = _answered();
        vm.warp(closesAt + 1);
        vm.prank(operator);
        oracle.leaveCallbacks(items);
    }

    function test_request__callback_to_an_account_without_code__is_refused_however_little_gas_it_gets() external {
        vm.deal(stranger, 1 ether);
        for (uint32 gas_; gas_ < 3; ++gas_) {
            IOracle.Params memory params = _params(8, gas_);
            (uint256 feeWei, uint256 callbackWei,) = oracle.quote(service, 5, params);
            assertEq(callbackWei, gas_ == 0 ? 0 : (uint256(gas_) + 60_000) * 1 gwei);
            if (gas_ > 0) {
                vm.expectRevert(abi.encodeWithSelector(IOracle.CallbackTargetWithoutCode.selector, stranger));
            }
            vm.prank(stranger);
            oracle.request{value: feeWei + callbackWei}(service, "Hello", params);
        }
    }

    function test_leave__last_second_half_way_through_retrying__is_taken_and_a_second_later_refused() external {
        IOracle.Item[] memory items = _answered();
        uint256 closedAt = closesAt + RETRIED_SECONDS - 15 days;
        vm.warp(closedAt + 1);
        vm.expectRevert(abi.encodeWithSelector(IOracle.RetryClosed.selector, requestId, closedAt));
        vm.prank(operator);
        oracle.leaveCallbacks(items);
        vm.warp(closedAt);
        vm.expectRevert(abi.encodeWithSelector(IOracle.NotAnswerer.selector, requestId, operator));
        oracle.leaveCallbacks(items);
        vm.prank(operator);
        assertEq(oracle.leaveCallbacks(items), 1);
        assertTrue(oracle.callbackLeft(requestId));
        assertEq(consumer.callbacks(), 0);
        assertEq(oracle.credit(operator), 0);
    }

    function test_finalize__window_s_last_second__is_skipped_and_a_second_later_pays() external {
        IOracle.Item[] memory items = _answered();
        vm.warp(closesAt);
        vm.expectRevert(IOracle.NothingToFinalize.selector);
        oracle.finalize(items);
        vm.warp(closesAt + 1);
        vm.prank(stranger);
        assertEq(oracle.finalize(items), 1);
        assertEq(consumer.callbacks(), 1);
        assertEq(oracle.credit(stranger), BOUNTY_WEI);
        assertFalse(oracle.callbackLeft(requestId));
    }

    function test_finalize__by_the_operator__pays_its_seat_for_the_callback_as_well() external {
        IOracle.Item[] memory items = _answered();
        (uint256 feeWei,,) = oracle.quote(service, 5, _params(8, 0));
        vm.warp(closesAt + 1);
        vm.prank(operator);
        oracle.finalize(items);
        assertEq(consumer.callbacks(), 1);
        assertEq(oracle.seatOf(service, 0).balanceWei, 10 ether + feeWei + BOUNTY_WEI);
        assertEq(oracle.credit(operator), 0);
    }

    /// @dev A callback that gets one unit of gas fails, and waits for whoever gives it more.
    function test_finalize__callback_of_one_gas__is_made_fails_and_can_be_repeated() external {
        IOracle.Item[] memory items = _answered(1);
        vm.warp(closesAt + 1);
        oracle.finalize(items);
        assertEq(uint8(oracle.statusOf(requestId)), uint8(IOracle.Status.Undelivered));
        assertEq(consumer.callbacks(), 0);
        oracle.retryCallback(items[0], CALLBACK_GAS);
        assertEq(consumer.callbacks(), 1);
        assertEq(uint8(oracle.statusOf(requestId)), uint8(IOracle.Status.Final));
        items = _answered(1);
        vm.warp(closesAt + 1);
        vm.prank(operator);
        oracle.leaveCallbacks(items);
        assertTrue(oracle.callbackLeft(requestId));
    }

    function test_retry__left__pays_who_delivers_once_and_until_the_last_second() external {
        IOracle.Item[] memory items = _left();
        uint256 closedAt = closesAt + RETRIED_SECONDS;
        vm.warp(closedAt + 1);
        vm.expectRevert(abi.encodeWithSelector(IOracle.RetryClosed.selector, requestId, closedAt));
        oracle.retryCallback(items[0], CALLBACK_GAS);
        vm.warp(closedAt);
        vm.expectRevert(
            abi.encodeWithSelector(IOracle.InsufficientGas.selector, uint256(CALLBACK_GAS) - 1, uint256(CALLBACK_GAS))
        );
        oracle.retryCallback(items[0], CALLBACK_GAS - 1);
        consumer.set(Hostile.Deed.Revert);
        vm.expectRevert(abi.encodeWithSelector(IOracle.CallbackReverted.selector, requestId));
        oracle.retryCallback(items[0], CALLBACK_GAS);
        consumer.set(Hostile.Deed.Record);
        vm.prank(stranger);
        oracle.retryCallback(items[0], CALLBACK_GAS);
        assertEq(oracle.credit(stranger), BOUNTY_WEI);
        assertEq(consumer.outputHash(), keccak256("yes"));
        vm.expectRevert(abi.encodeWithSelector(IOracle.WrongStatus.selector, requestId, IOracle.Status.Final));
        oracle.retryCallback(items[0], CALLBACK_GAS);
    }

    function test_retry__tried_and_failed__pays_nobody_and_is_never_reclaimed() external {
        IOracle.Item[] memory items = _answered();
        consumer.set(Hostile.Deed.Revert);
        vm.warp(closesAt + 1);
        vm.prank(operator);
        oracle.finalize(items);
        assertFalse(oracle.callbackLeft(requestId));
        vm.warp(closesAt + RETRIED_SECONDS);
        uint256 start = vm.snapshotState();
        consumer.set(Hostile.Deed.Record);
        vm.prank(stranger);
        oracle.retryCallback(items[0], CALLBACK_GAS);
        assertEq(consumer.callbacks(), 1);
        assertEq(oracle.credit(stranger), 0);
        vm.revertToState(start);
        skip(1);
        vm.expectRevert(abi.encodeWithSelector(IOracle.NothingToReclaim.selector, requestId));
        oracle.reclaim(items[0].request, items[0].answer);
    }

    function test_reclaim__a_second_after_the_last_retry__returns_the_price_to_the_payer_once() external {
        IOracle.Item memory item = _left()[0];
        uint256 closedAt = closesAt + RETRIED_SECONDS;
        vm.warp(closedAt);
        vm.expectRevert(abi.encodeWithSelector(IOracle.RetryOpen.selector, requestId, closedAt));
        oracle.reclaim(item.request, item.answer);
        vm.warp(closedAt + 1);
        oracle.reclaim(item.request, item.answer);
        assertEq(oracle.credit(address(consumer)), BOUNTY_WEI);
        vm.expectRevert(abi.encodeWithSelector(IOracle.NothingToReclaim.selector, requestId));
        oracle.reclaim(item.request, item.answer);
        assertTrue(oracle.isFinal(requestId, item.answer));
    }
}
