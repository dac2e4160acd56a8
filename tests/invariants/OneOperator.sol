// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Vm} from "forge-std/Vm.sol";

import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {MockArbiter} from "../../contracts/mocks/MockArbiter.sol";
import {World} from "./World.sol";

/// @title A service with one seat, whose arbiter speaks through the tests.
/// @notice Whatever seats a test adds have the same owner and operator.
abstract contract OneOperator is World {
    uint256 internal constant BLOCK_SECONDS = 12;
    uint256 internal constant SEAT_WEI = 300 ether;

    MockArbiter internal arbiter;
    address internal owner = makeAddr("owner");
    address internal operator = makeAddr("operator");
    address internal payer = makeAddr("payer");

    /// @dev Block and time of the request that was made last.
    uint256 internal askedIn;
    uint256 internal askedAt;

    function setUp() external {
        _deploy();
        arbiter = new MockArbiter(1000);
        (terms.arbiter, terms.arbiterTerms, terms.minOwners, terms.missPenaltyWei) = (arbiter, "", 1, 0.0002 ether);
        _open();
        vm.deal(payer, 100 ether);
        vm.deal(address(arbiter), 100 ether);
        _blocks(1);
    }

    /// @dev A service after `terms`, with one seat that is active from this second on.
    function _open() internal {
        service = oracle.createService(terms);
        _joined();
    }

    function _joined() internal returns (uint16 seat) {
        vm.deal(owner, SEAT_WEI);
        vm.prank(owner);
        seat = oracle.join{value: SEAT_WEI}(service, operator);
        skip(terms.lifetimeSeconds);
        oracle.activate(service, seat);
    }

    function _blocks(uint256 count) internal {
        vm.roll(vm.getBlockNumber() + count);
        skip(count * BLOCK_SECONDS);
    }

    function _ask(bytes memory prompt) internal returns (IOracle.Request memory) {
        return _ask(prompt, _params(8, 0));
    }

    function _ask(bytes memory prompt, IOracle.Params memory params) internal returns (IOracle.Request memory req) {
        (uint256 feeWei,, uint256 forfeitWei) = oracle.quote(service, prompt.length, params);
        assertEq(forfeitWei, 0.0005 ether, "half the base price");
        (askedIn, askedAt) = (vm.getBlockNumber(), vm.getBlockTimestamp());
        vm.recordLogs();
        vm.prank(payer);
        oracle.request{value: feeWei}(service, prompt, params);
        (req,) = abi.decode(_event(vm.getRecordedLogs(), IOracle.RequestPosted.selector), (IOracle.Request, bytes));
    }

    /// @dev The request was made last.
    function _answer(IOracle.Request memory req) internal returns (IOracle.Answer memory ans) {
        vm.recordLogs();
        vm.prank(operator);
        oracle.answer(req, "yes", 2, 0, blockhash(askedIn + 2));
        (ans,) = abi.decode(_event(vm.getRecordedLogs(), IOracle.AnswerPosted.selector), (IOracle.Answer, bytes));
    }

    /// @dev After the deadline of the request that was made last. Returns the turns that were missed.
    function _refund(IOracle.Request memory req) internal returns (uint256[] memory turns) {
        vm.roll(askedIn + 53);
        vm.warp(askedAt + terms.lifetimeSeconds + 1);
        return _refundNow(req);
    }

    function _refundNow(IOracle.Request memory req) internal returns (uint256[] memory turns) {
        vm.recordLogs();
        oracle.refund(req);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        turns = new uint256[](logs.length);
        uint256 count;
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] != IOracle.TurnMissed.selector) continue;
            (turns[count++],,) = abi.decode(logs[i].data, (uint32, uint16, uint256));
        }
        assembly ("memory-safe") {
            mstore(turns, count)
        }
    }

    function _finalize(IOracle.Request memory req, IOracle.Answer memory ans) internal {
        IOracle.Item[] memory items = new IOracle.Item[](1);
        items[0] = IOracle.Item(req, ans, "yes");
        oracle.finalize(items);
    }

    /// @dev The arbiter brings 0.2 ether, of which the payer gets `paidWei`.
    function _rule(
        IOracle.Request memory req,
        IOracle.Answer memory ans,
        IOracle.Ruling ruling,
        uint72 slashWei,
        uint256 paidWei
    ) internal {
        IOracle.Payout[] memory payouts = new IOracle.Payout[](1);
        payouts[0] = IOracle.Payout(payer, uint96(paidWei));
        vm.prank(address(arbiter));
        oracle.rule{value: 0.2 ether}(req, ans, ruling, slashWei, payouts);
    }

    /// @dev The arbiter fines what the first seat has beyond `leftWei`.
    function _leave(uint256 leftWei) internal {
        uint72 fineWei = uint72(_seatWei() - leftWei);
        vm.startPrank(address(arbiter));
        oracle.lockSeat(service, 0);
        oracle.unlockSeat(service, 0, fineWei);
        vm.stopPrank();
    }

    function _seatWei() internal view returns (uint256) {
        return _seatWei(0);
    }

    function _seatWei(uint16 seat) internal view returns (uint256) {
        return oracle.seatOf(service, seat).balanceWei;
    }

    function _is(IServices.SeatStatus status, uint256 places) internal view {
        assertEq(uint8(oracle.seatOf(service, 0).status), uint8(status));
        assertEq(oracle.placesOf(service), places);
    }
}
