// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {World} from "./World.sol";

/// @title As many seats as a service can have are taken and given up: requests are answered as if they had never been.
contract Draw is World {
    uint256 private constant REQUESTS = 40;
    uint16 private constant MAX_SEATS = 512;

    address private crowd = makeAddr("crowd");
    address private payer = makeAddr("payer");

    function setUp() external {
        _deploy();
        vm.deal(payer, 1_000 ether);
        for (uint256 seat = SEATS; seat < MAX_SEATS; ++seat) {
            _join(crowd);
        }
        _pass(terms.lifetimeSeconds);
        for (uint256 seat = SEATS; seat < MAX_SEATS; ++seat) {
            oracle.activate(service, uint16(seat));
        }
        assertEq(oracle.placesOf(service), MAX_SEATS);
        vm.roll(vm.getBlockNumber() + 1);
        vm.startPrank(crowd);
        for (uint256 seat = SEATS; seat < MAX_SEATS; ++seat) {
            oracle.announceExit(service, uint16(seat));
        }
        vm.stopPrank();
        vm.roll(vm.getBlockNumber() + 1);
    }

    function test_draw__crowd_has_announced_its_exit__every_request_is_answered_in_its_first_turn() external {
        _answerAll();
    }

    function test_draw__crowd_is_gone_with_its_stake__every_request_is_answered_in_its_first_turn() external {
        _pass(oracle.seatOf(service, uint16(SEATS)).readyAt - vm.getBlockTimestamp());
        vm.startPrank(crowd);
        for (uint256 seat = SEATS; seat < MAX_SEATS; ++seat) {
            oracle.exit(service, uint16(seat));
        }
        vm.stopPrank();
        assertEq(oracle.credit(crowd), (MAX_SEATS - SEATS) * 10 ether);
        _answerAll();
    }

    function _pass(uint256 time) private {
        vm.warp(vm.getBlockTimestamp() + time);
    }

    function _answerAll() private {
        assertEq(oracle.placesOf(service), SEATS);
        for (uint256 n; n < REQUESTS; ++n) {
            IOracle.Params memory params = _params(8, 0);
            (uint256 feeWei,,) = oracle.quote(service, 5, params);
            vm.recordLogs();
            vm.prank(payer);
            oracle.request{value: feeWei}(service, "Hello", params);
            (IOracle.Request memory req,) =
                abi.decode(_event(vm.getRecordedLogs(), IOracle.RequestPosted.selector), (IOracle.Request, bytes));
            vm.roll(vm.getBlockNumber() + 3);
            (uint32 turn,, address operator) = lens.turnOf(req);
            assertEq(turn, 0);
            vm.prank(operator);
            oracle.answer(req, "yes", 2, 0, blockhash(vm.getBlockNumber() - 1));
            assertEq(uint8(oracle.statusOf(lens.idOf(req))), uint8(IOracle.Status.Answered));
        }
    }
}
