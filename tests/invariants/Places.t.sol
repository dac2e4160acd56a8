// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {MockArbiter} from "../../contracts/mocks/MockArbiter.sol";
import {World} from "./World.sol";

/// @title Places of the draw, and whose bond answers for them: of the seat that stood there when the request was made.
/// @notice Each seat has its own owner, who operates it.
contract Places is World {
    uint256 private constant SEAT_WEI = 10 ether;

    address private payer = makeAddr("payer");
    uint256 private asked;

    function setUp() external {
        _deploy();
        (terms.arbiter, terms.arbiterTerms, terms.minOwners) = (new MockArbiter(1000), "", 1);
        service = oracle.createService(terms);
        vm.deal(payer, 100 ether);
        for (uint256 i; i < 4; ++i) {
            _join(owners[i]);
        }
        skip(terms.lifetimeSeconds);
        for (uint16 seat; seat < 3; ++seat) {
            oracle.activate(service, seat);
        }
        _blocks(1);
    }

    /// @dev Time stands still, so that all turns are a request's first.
    function _blocks(uint256 count) private {
        vm.roll(vm.getBlockNumber() + count);
    }

    function _leaves(uint16 seat) private {
        vm.prank(oracle.seatOf(service, seat).owner);
        oracle.announceExit(service, seat);
    }

    /// @dev So many that each place is drawn more than once.
    function _ask() private returns (IOracle.Request[] memory reqs) {
        reqs = new IOracle.Request[](24);
        (uint256 feeWei,,) = oracle.quote(service, 2, _params(8, 0));
        for (uint256 i; i < reqs.length; ++i) {
            vm.recordLogs();
            vm.prank(payer);
            oracle.request{value: feeWei}(service, abi.encodePacked(uint16(asked++)), _params(8, 0));
            (reqs[i],) =
                abi.decode(_event(vm.getRecordedLogs(), IOracle.RequestPosted.selector), (IOracle.Request, bytes));
        }
    }

    /// @dev Each request is answered by the seat that `places` has where its seed leads, and by nobody else.
    function _answered(IOracle.Request[] memory reqs, uint16[] memory places) private {
        uint256[] memory drawn = new uint256[](places.length);
        for (uint256 i; i < reqs.length; ++i) {
            uint256 madeIn = lens.unpackRequest(reqs[i]).blockNumber;
            bytes32 seed = blockhash(madeIn + 2);
            uint256 place = uint256(keccak256(abi.encode(seed, lens.idOf(reqs[i]), uint32(0)))) % places.length;
            ++drawn[place];
            _answer(reqs[i], seed, places[place]);
            assertEq(oracle.seatAt(service, uint16(place), madeIn), places[place]);
        }
        for (uint256 place; place < places.length; ++place) {
            assertGt(drawn[place], 1);
        }
    }

    function _answer(IOracle.Request memory req, bytes32 seed, uint16 seat) private {
        address operator = oracle.operatorOf(service, seat);
        for (uint16 other; other < 4; ++other) {
            if (other == seat) continue;
            address stranger = oracle.operatorOf(service, other);
            vm.expectRevert(
                abi.encodeWithSelector(IOracle.NotYourTurn.selector, lens.idOf(req), uint32(0), seat, operator)
            );
            vm.prank(stranger);
            oracle.answer(req, "yes", 2, 0, seed);
        }
        uint256[4] memory before = _balances();
        vm.prank(operator);
        oracle.answer(req, "yes", 2, 0, seed);
        before[seat] -= terms.bondWei;
        assertEq(abi.encode(_balances()), abi.encode(before), "the bond is that seat's");
        vm.prank(operator);
        oracle.topUp{value: terms.bondWei}(service, seat);
    }

    function _balances() private view returns (uint256[4] memory balances) {
        for (uint16 seat; seat < 4; ++seat) {
            balances[seat] = oracle.seatOf(service, seat).balanceWei;
        }
    }

    function _places(uint16 a, uint16 b) private pure returns (uint16[] memory places) {
        places = new uint16[](2);
        (places[0], places[1]) = (a, b);
    }

    function _places(uint16 a, uint16 b, uint16 c) private pure returns (uint16[] memory places) {
        places = new uint16[](3);
        (places[0], places[1], places[2]) = (a, b, c);
    }

    function _is(uint16 seat, IServices.SeatStatus status) private view {
        assertEq(uint8(oracle.seatOf(service, seat).status), uint8(status));
    }

    /// @dev The seat of the last place goes where one left; another enters behind, in the place of that seat's number.
    function test_answer__seats_went_and_came__the_bond_is_of_whoever_stood_there_at_the_request() external {
        IOracle.Request[] memory first = _ask();
        _blocks(1);
        _leaves(0);
        IOracle.Request[] memory sameBlock = _ask();
        _blocks(1);
        IOracle.Request[] memory second = _ask();
        _blocks(1);
        oracle.activate(service, 3);
        _is(2, IServices.SeatStatus.Moved);
        _is(3, IServices.SeatStatus.Moved);
        _is(1, IServices.SeatStatus.Active);
        _blocks(1);
        IOracle.Request[] memory third = _ask();
        _blocks(1);
        _leaves(1);
        _blocks(1);
        IOracle.Request[] memory fourth = _ask();
        _blocks(3);
        for (uint256 i; i < 4; ++i) {
            vm.deal(owners[i], 100 ether);
        }
        _answered(first, _places(0, 1, 2));
        _answered(second, _places(2, 1));
        _answered(third, _places(2, 1, 3));
        _answered(fourth, _places(2, 3));
        // Two places were left when these were made, but the block had begun with seat 0 in the first of them.
        _answered(sameBlock, _places(0, 1));
    }

    /// @dev Several changes of a place in one block are one: the last.
    function test_seatAt__place_changes_twice_in_a_block__later_requests_draw_the_last() external {
        oracle.activate(service, 3);
        _blocks(1);
        _leaves(0);
        _leaves(3);
        assertEq(oracle.placesOf(service), 2);
        uint256 changed = vm.getBlockNumber();
        _blocks(1);
        assertEq(oracle.seatAt(service, 0, changed), 0);
        assertEq(oracle.seatAt(service, 0, changed + 1), 2);
        assertEq(oracle.seatAt(service, 1, changed + 1), 1);
        _leaves(2);
        _blocks(1);
        assertEq(oracle.placesOf(service), 1);
        assertEq(oracle.seatAt(service, 0, changed), 0);
        assertEq(oracle.seatAt(service, 0, changed + 1), 2);
        assertEq(oracle.seatAt(service, 0, changed + 2), 1);
    }

    /// @dev Places of three, then of none: whoever stood first, second, third.
    function _emptied() private returns (uint256 block0) {
        block0 = vm.getBlockNumber();
        _leaves(0); // 2, 1
        _blocks(1);
        _leaves(1); // 2
        _blocks(1);
        _leaves(2);
        _blocks(1);
        assertEq(oracle.placesOf(service), 0);
        (uint16 taken, uint16 ownerCount) = oracle.counts(service);
        assertEq(taken, 4);
        assertEq(ownerCount, 0);
    }

    function _gone(uint16 seat) private {
        address owner = oracle.seatOf(service, seat).owner;
        vm.prank(owner);
        oracle.exit(service, seat);
        assertEq(oracle.credit(owner), SEAT_WEI);
        IServices.Seat memory none;
        assertEq(abi.encode(oracle.seatOf(service, seat)), abi.encode(none));
    }

    function test_join__seat_taken_anew__has_its_own_money_and_answers_for_its_own_place_alone() external {
        uint256 leftIn = _emptied();
        skip(terms.lifetimeSeconds + terms.windowSeconds + 1000);
        _gone(0);
        address heir = makeAddr("heir");
        assertEq(_join(heir), 0);
        uint48 readyAt = uint48(vm.getBlockTimestamp()) + terms.lifetimeSeconds;
        IServices.Seat memory expected =
            IServices.Seat(heir, heir, uint72(SEAT_WEI), 0, IServices.SeatStatus.Joining, readyAt);
        assertEq(abi.encode(oracle.seatOf(service, 0)), abi.encode(expected));
        skip(terms.lifetimeSeconds);
        _blocks(1);
        uint256 activatedIn = vm.getBlockNumber();
        oracle.activate(service, 0);
        oracle.activate(service, 3);
        _is(1, IServices.SeatStatus.Leaving); // though another stands in the place of its number
        _blocks(1);
        // The first place was seat 0's, then seat 2's, and is the new seat 0's.
        assertEq(oracle.seatAt(service, 0, leftIn), 0);
        for (uint256 since = leftIn + 1; since <= activatedIn; ++since) {
            assertEq(oracle.seatAt(service, 0, since), 2);
        }
        assertEq(oracle.seatAt(service, 0, activatedIn + 1), 0);
        IOracle.Request[] memory reqs = _ask();
        _blocks(3);
        vm.deal(heir, 100 ether);
        vm.deal(owners[3], 100 ether);
        _answered(reqs, _places(0, 3));
        assertEq(oracle.credit(owners[0]), SEAT_WEI, "the one before has what it took away");
    }

    function test_join__several_were_given_up__the_last_of_them_is_taken_first() external {
        _emptied();
        skip(terms.lifetimeSeconds + terms.windowSeconds + 1000);
        _gone(0);
        _gone(2);
        assertEq(_join(owners[4]), 2);
        assertEq(_join(owners[4]), 0);
        assertEq(_join(owners[4]), 4);
        (uint16 taken,) = oracle.counts(service);
        assertEq(taken, 5);
    }
}
