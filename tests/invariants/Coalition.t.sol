// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Vm} from "forge-std/Vm.sol";

import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {World} from "./World.sol";

/// @title What a coalition of askers and seats can make others lose: at most what it loses itself.
/// @notice Its seats answer, let turns pass and leave as random words say; its askers also ask what nobody may answer. All others
/// do what nodes and dapps do: a seat answers whenever it is its turn and it has a bond, an asker waits.
contract Coalition is World {
    uint256 private constant ASKERS = 2;
    uint256 private constant BLOCK_SECONDS = 12;
    uint256 private constant BLOCKS = 110;

    struct Ask {
        IOracle.Request request;
        IOracle.Answer answer;
        uint256 asker;
        uint256 madeIn;
        bool answerable;
        uint256 answeredUntil;
        bool closed;
    }

    uint256 private members;
    uint256 private whims;
    uint256 private drawn;
    Ask[] private asks;
    address[] private askers;

    /// @dev By seat, then by asker: what went in and did not come back, fees for answers and pay for work apart.
    int256[SEATS + ASKERS] private lossWei;

    function setUp() external {
        _deploy();
        for (uint256 i; i < ASKERS; ++i) {
            askers.push(makeAddr(string.concat("asker ", vm.toString(i))));
            vm.deal(askers[i], 100 ether);
        }
    }

    function testFuzz_coalition__any_askers_and_seats__others_lose_at_most_what_it_loses(
        uint16 members_,
        uint256 whims_
    ) external {
        (members, whims) = (members_, whims_);
        _play();
        int256 othersWei;
        int256 ownWei;
        for (uint256 i; i < SEATS + ASKERS; ++i) {
            if (_isMember(i)) ownWei += lossWei[i];
            else othersWei += lossWei[i];
        }
        assertLe(othersWei, ownWei);
        assertEq(othersWei + ownWei, int256(oracle.burnable()));
    }

    /// @dev Or the game above would be idle: an asker alone has honest seats fined, lazy seats alone a late answerer or a payer.
    function test_coalition__asker_alone_and_seats_alone__have_others_lose_something() external {
        assertGt(_mostOthersLose(1 << SEATS), 0);
        assertGt(_mostOthersLose(0x0f), 0);
    }

    /// @dev In the worst of a few games, since seeds that fall to honest seats hurt nobody.
    function _mostOthersLose(uint256 members_) private returns (int256 mostWei) {
        for (uint256 whims_ = 1; whims_ <= 6; ++whims_) {
            uint256 before = vm.snapshotState();
            (members, whims) = (members_, whims_);
            _play();
            int256 othersWei;
            for (uint256 i; i < SEATS + ASKERS; ++i) {
                if (!_isMember(i)) othersWei += lossWei[i];
            }
            if (othersWei > mostWei) mostWei = othersWei;
            vm.revertToState(before);
        }
    }

    /* THE GAME */

    function _play() private {
        for (uint16 seat; seat < SEATS; ++seat) {
            uint256 bonds = 2 + _draw(3); // how many answers it can have open
            vm.prank(owners[seat]);
            oracle.withdrawFromSeat(service, seat, uint72(10 ether - bonds * terms.bondWei));
            lossWei[seat] = int256(bonds * terms.bondWei);
        }
        for (uint256 n; n < BLOCKS; ++n) {
            vm.roll(vm.getBlockNumber() + 1);
            vm.warp(vm.getBlockTimestamp() + BLOCK_SECONDS);
            if (n < 30 && _draw(3) == 0) _ask(_draw(ASKERS));
            uint256 seat = _draw(SEATS);
            if (_isMember(seat) && _draw(10) == 0 && oracle.placesOf(service) > 5) _leave(uint16(seat));
            for (uint256 i; i < asks.length; ++i) {
                _move(asks[i]);
            }
        }
        for (uint256 i; i < asks.length; ++i) {
            assertTrue(asks[i].closed, "a request is not closed");
        }
        for (uint16 seat; seat < SEATS; ++seat) {
            lossWei[seat] -= int256(uint256(oracle.seatOf(service, seat).balanceWei));
        }
        for (uint256 i; i < ASKERS; ++i) {
            lossWei[SEATS + i] -= int256(oracle.credit(askers[i]));
        }
    }

    function _ask(uint256 who) private {
        (, uint16 ownerCount) = oracle.counts(service);
        if (ownerCount < terms.minOwners) return;
        IOracle.Params memory params = _params(8, 0);
        (uint256 feeWei,,) = oracle.quote(service, 5, params);
        params.deadline -= uint48(_draw(300)); // an id of its own, and requests of any number of turns
        vm.recordLogs();
        vm.prank(askers[who]);
        oracle.request{value: feeWei}(service, "Hello", params);
        Ask storage a = asks.push();
        (a.request,) =
            abi.decode(_event(vm.getRecordedLogs(), IOracle.RequestPosted.selector), (IOracle.Request, bytes));
        (a.asker, a.madeIn) = (who, vm.getBlockNumber());
        a.answerable = !_isMember(SEATS + who) || _draw(2) == 0;
        lossWei[SEATS + who] += int256(feeWei);
    }

    function _leave(uint16 seat) private {
        IServices.SeatStatus status = oracle.seatOf(service, seat).status;
        if (status == IServices.SeatStatus.Leaving) return;
        vm.prank(owners[seat]);
        oracle.announceExit(service, seat);
    }

    /// @dev What happens to a request in one block.
    function _move(Ask storage a) private {
        if (a.closed || vm.getBlockNumber() < a.madeIn + 3) return;
        uint256 deadline = lens.unpackRequest(a.request).params.deadline;
        if (a.answeredUntil > 0) {
            if (vm.getBlockTimestamp() > a.answeredUntil) _finalize(a);
        } else if (vm.getBlockTimestamp() > deadline) {
            if (_isMember(SEATS + a.asker) && vm.getBlockNumber() % 8 > 0) return; // takes its time
            oracle.refund(a.request);
            a.closed = true;
        } else {
            (, uint16 seat, address operator) = lens.turnOf(a.request);
            bool willing = _isMember(seat) ? _draw(8) == 0 : a.answerable;
            if (willing && oracle.seatOf(service, seat).balanceWei >= terms.bondWei) _answer(a, operator);
        }
    }

    function _answer(Ask storage a, address operator) private {
        vm.recordLogs();
        vm.prank(operator);
        oracle.answer(a.request, "yes", 2, 0, blockhash(a.madeIn + 2));
        (a.answer,) = abi.decode(_event(vm.getRecordedLogs(), IOracle.AnswerPosted.selector), (IOracle.Answer, bytes));
        a.answeredUntil = lens.unpackAnswer(a.answer).closesAt;
    }

    function _finalize(Ask storage a) private {
        IOracle.Item[] memory items = new IOracle.Item[](1);
        items[0] = IOracle.Item(a.request, a.answer, "yes");
        vm.recordLogs();
        oracle.finalize(items);
        int256 paidWei = int256(abi.decode(_event(vm.getRecordedLogs(), IOracle.RequestFinalized.selector), (uint256)));
        lossWei[lens.unpackAnswer(a.answer).seat] += paidWei;
        lossWei[SEATS + a.asker] -= paidWei;
        a.closed = true;
    }

    function _isMember(uint256 i) private view returns (bool) {
        return members >> i & 1 == 1;
    }

    function _draw(uint256 below) private returns (uint256) {
        return uint256(keccak256(abi.encode(whims, ++drawn))) % below;
    }
}
