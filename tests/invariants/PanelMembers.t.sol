// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {World} from "./World.sol";

/// @title Whom the draw of a panel passes over.
/// @dev What the ledger says of a seat is told to the arbiter in its place: owner, operator, balance and status. Fewer may
/// serve than a panel needs, so a draw looks at every seat, and who is on the panel does not depend on the seed.
contract PanelMembers is World {
    IOracle.Request private req;
    IOracle.Answer private ans;
    address private challenger = makeAddr("challenger");
    address private payer = makeAddr("payer");

    function setUp() external {
        _deploy();
        vm.deal(payer, 10 ether);
        vm.deal(challenger, 1 ether);
        address operator;
        while (operator != owners[HONEST_OWNERS]) {
            req = _request();
            (,, operator) = lens.turnOf(req);
        }
        vm.recordLogs();
        vm.prank(operator);
        oracle.answer(req, "yes", 2, 0, blockhash(vm.getBlockNumber() - 1));
        (ans,) = abi.decode(_event(vm.getRecordedLogs(), IOracle.AnswerPosted.selector), (IOracle.Answer, bytes));
        vm.prank(challenger);
        panel.challenge{value: panelTerms.challengeBondWei}(req, ans);
        vm.roll(vm.getBlockNumber() + 3);
        for (uint16 seat; seat < HONEST_OWNERS; ++seat) {
            _tell(seat, IServices.SeatStatus.Empty, 10 ether, owners[seat], owners[seat]);
        }
    }

    function _request() private returns (IOracle.Request memory asked) {
        IOracle.Params memory params = _params(8, 0);
        (uint256 feeWei,,) = oracle.quote(service, 5, params);
        vm.recordLogs();
        vm.prank(payer);
        oracle.request{value: feeWei}(service, "Hello", params);
        (asked,) = abi.decode(_event(vm.getRecordedLogs(), IOracle.RequestPosted.selector), (IOracle.Request, bytes));
        vm.roll(vm.getBlockNumber() + 3);
    }

    /// @dev What the ledger says of a seat.
    function _tell(uint16 seat, IServices.SeatStatus status, uint72 balanceWei, address owner, address operator)
        private
    {
        vm.mockCall(
            address(oracle),
            abi.encodeWithSelector(IServices.seatOf.selector, service, seat),
            abi.encode(IServices.Seat(owner, operator, balanceWei, 0, status, 0))
        );
    }

    /// @dev The members' numbers, one bit each.
    function _drawn() private returns (uint256 seats) {
        panel.draw(req, ans);
        uint16[] memory members = panel.caseOf(panel.caseIdOf(lens.idOf(req), 0)).members;
        for (uint256 i; i < members.length; ++i) {
            seats |= 1 << members[i];
        }
    }

    function test_draw__seat_holds_just_the_fine_for_absence__serves_and_with_a_wei_less_does_not() external {
        uint72 fineWei = panelTerms.absencePenaltyWei;
        _tell(0, IServices.SeatStatus.Active, fineWei, owners[0], owners[0]);
        _tell(1, IServices.SeatStatus.Active, fineWei - 1, owners[1], owners[1]);
        _tell(2, IServices.SeatStatus.Leaving, fineWei, owners[2], owners[2]);
        _tell(3, IServices.SeatStatus.Leaving, 0, owners[3], owners[3]);
        assertEq(_drawn(), 1 << 0 | 1 << 2);
    }

    function test_draw__seat_was_given_up_or_taken_anew_since_the_request__does_not_serve() external {
        _tell(1, IServices.SeatStatus.Joining, 10 ether, owners[1], owners[1]);
        _tell(2, IServices.SeatStatus.Suspended, 10 ether, owners[2], owners[2]);
        _tell(3, IServices.SeatStatus.Moved, 10 ether, owners[3], owners[3]);
        assertEq(_drawn(), 1 << 2 | 1 << 3);
    }

    function test_draw__challenger_owns_or_operates_a_seat__it_does_not_serve() external {
        _tell(0, IServices.SeatStatus.Active, 10 ether, challenger, owners[0]);
        _tell(1, IServices.SeatStatus.Active, 10 ether, owners[1], challenger);
        _tell(2, IServices.SeatStatus.Active, 10 ether, owners[2], owners[0]);
        assertEq(_drawn(), 1 << 2);
    }

    function test_draw__seats_of_one_owner_and_of_who_answered__one_serves_and_none() external {
        _tell(0, IServices.SeatStatus.Active, 10 ether, owners[4], owners[0]);
        _tell(1, IServices.SeatStatus.Active, 10 ether, owners[HONEST_OWNERS], owners[1]);
        _tell(4, IServices.SeatStatus.Active, 10 ether, owners[4], owners[4]);
        uint256 seats = _drawn();
        assertTrue(seats == 1 << 0 || seats == 1 << 4);
    }
}
