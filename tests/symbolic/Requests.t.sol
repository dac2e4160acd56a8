// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ServiceStore} from "../../contracts/ServiceStore.sol";
import {IArbiter} from "../../contracts/interfaces/IArbiter.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {RequestLib} from "../../contracts/libraries/RequestLib.sol";
import {Ledger} from "./Ledger.sol";

/// @title A payer that takes every callback.
contract Taker {
    function onAnswer(uint256, bytes calldata) external {}
}

/// @title What a request escrows is what its end credits: fee, callback, bond.
contract RequestConservation is Ledger {
    using RequestLib for IOracle.Request;
    using RequestLib for IOracle.Answer;

    uint256 private constant NOW = 1_800_000_000;
    uint256 private constant BLOCK = 1_000_000;
    uint24 private constant TURN = 60;
    uint256 private constant SEAT = 3;

    Taker private _taker;

    function setUp() public override {
        super.setUp();
        vm.warp(NOW);
        vm.roll(BLOCK);
        _taker = new Taker();
    }

    /* WHAT A REQUEST HOLDS */

    function _callbackWei(IOracle.Request memory req) private view returns (uint256) {
        uint256 callbackGas = uint32(req.rules >> 88);
        uint256 priceWei = uint64(req.rules >> 120);
        return callbackGas == 0 ? 0 : (callbackGas + books.CALLBACK_OVERHEAD_GAS()) * priceWei;
    }

    function _feeWei(IOracle.Request memory req) private pure returns (uint256) {
        return uint96(req.money);
    }

    function _bondWei(IOracle.Request memory req) private pure returns (uint256) {
        return uint72(req.money >> 160);
    }

    function _withPayer(uint256 head, address payer) private pure returns (uint256) {
        return head >> 160 << 160 | uint160(payer);
    }

    function _withSeat(uint256 head) private pure returns (uint256) {
        return head & ~(uint256(type(uint16).max) << 32) | SEAT << 32;
    }

    function _withTurns(uint256 rules, uint256 turnSeconds) private pure returns (uint256) {
        return rules & ~(uint256(type(uint24).max) << 184) | turnSeconds << 184;
    }

    function _withSeats(uint256 rules, uint256 count) private pure returns (uint256) {
        return rules & ~(uint256(type(uint16).max) << 232) | count << 232;
    }

    /* ASKING */

    /// @dev The ether that comes with a request is what the request says it escrows.
    function check_request(
        address payer,
        ServiceStore.Service memory service,
        IOracle.Params memory params,
        uint256 amountWei
    ) external {
        vm.assume(payer != address(books));
        books.setService(SERVICE, service);
        vm.deal(payer, amountWei);
        bytes memory prompt = "?";
        vm.prank(payer);
        books.request{value: amountWei}(SERVICE, prompt, params);

        uint256 feeWei = uint256(service.prices.baseWei) + service.prices.byteWei + uint256(service.prices.tokenWei)
            * params.maxTokens;
        IOracle.Request memory req = IOracle.Request({
            service: SERVICE,
            promptHash: keccak256(prompt),
            head: RequestLib.packHead(payer, params.deadline, uint48(BLOCK)),
            rules: this.packed(params, service.rules.turnSeconds, service.rules.windowSeconds, service.rules.seatCount),
            money: RequestLib.packMoney(
                uint96(feeWei), service.prices.tokenWei, service.rules.bondWei, params.valueFinney
            )
        });
        assertEq(uint256(books.statusOf(req.id())), uint256(IOracle.Status.Open));
        assertEq(amountWei, _feeWei(req) + _callbackWei(req));
    }

    function packed(IOracle.Params calldata params, uint24 turnSeconds, uint24 windowSeconds, uint16 seats)
        external
        pure
        returns (uint256)
    {
        return RequestLib.packRules(params, turnSeconds, windowSeconds, seats);
    }

    /* THE ANSWER STANDS */

    function _settled(
        IOracle.Request memory req,
        IOracle.Answer memory ans,
        ServiceStore.SeatState memory seat,
        bool byOperator,
        uint256[3] memory roles,
        uint256[3] memory creditsWei,
        bool leaves
    ) private returns (uint256 creditedWei) {
        req.service = SERVICE;
        ans.outputHash = keccak256("");
        ans.head = _withSeat(ans.head);
        req.rules = _withTurns(req.rules, TURN);
        req.head = _withPayer(req.head, _cast(roles[0], creditsWei[0]));
        address caller = _cast(roles[1], creditsWei[1]);
        seat.owner = _cast(roles[2], creditsWei[2]);
        seat.money.operator = byOperator ? caller : address(0xbee);
        books.setSeat(SERVICE, SEAT, seat);
        books.setAnswered(req, ans, IOracle.Status.Answered, 0);
        uint256 beforeWei = _creditsWei() + seat.money.balanceWei;
        IOracle.Item[] memory items = new IOracle.Item[](1);
        items[0] = IOracle.Item(req, ans, "");
        vm.prank(caller);
        if (leaves) books.leaveCallbacks(items);
        else books.finalize(items);
        return _creditsWei() + _seatWei(SEAT) - beforeWei;
    }

    /// @dev Bond, fee and callback go to the seat, the caller and the payer, and nobody gets more.
    function check_finalize(
        IOracle.Request memory req,
        IOracle.Answer memory ans,
        ServiceStore.SeatState memory seat,
        bool byOperator,
        uint256[3] memory roles,
        uint256[3] memory creditsWei
    ) external {
        uint256 creditedWei = _settled(req, ans, seat, byOperator, roles, creditsWei, false);
        assertEq(creditedWei, _bondWei(req) + _feeWei(req) + _callbackWei(req));
    }

    /// @dev The same, but what the callback escrowed stays.
    function check_leaveCallbacks(
        IOracle.Request memory req,
        IOracle.Answer memory ans,
        ServiceStore.SeatState memory seat,
        bool byOperator,
        uint256[3] memory roles,
        uint256[3] memory creditsWei
    ) external {
        uint256 creditedWei = _settled(req, ans, seat, byOperator, roles, creditsWei, true);
        assertEq(creditedWei, _bondWei(req) + _feeWei(req));
    }

    /* A CALLBACK THAT WAS LEFT */

    /// @dev What the callback escrowed is paid once: to whoever delivers it, or back to the payer.
    function check_left_callback(
        IOracle.Request memory req,
        IOracle.Answer memory ans,
        uint32 leaveSeconds,
        uint256[2] memory creditsWei,
        bool[3] memory reclaims
    ) external {
        req.service = SERVICE;
        req.head = _withPayer(req.head, address(_taker));
        req.rules = req.rules & ~(uint256(type(uint32).max) << 88) | uint256(100_000) << 88;
        ans.outputHash = keccak256("");
        ServiceStore.Service memory service;
        service.leaveSeconds = leaveSeconds;
        books.setService(SERVICE, service);
        books.setAnswered(req, ans, IOracle.Status.Undelivered, RequestLib.LEFT);
        _account(address(_taker), creditsWei[0]);
        address caller = _cast(1, creditsWei[1]);
        uint256 beforeWei = _creditsWei();
        IOracle.Item memory item = IOracle.Item(req, ans, "");
        uint256 paid;
        for (uint256 i; i < reclaims.length; ++i) {
            vm.prank(caller);
            if (reclaims[i]) {
                try books.reclaim(req, ans) {
                    ++paid;
                } catch {}
            } else {
                try books.retryCallback(item, 100_000) {
                    paid = 1;
                } catch {}
            }
        }
        assertEq(_creditsWei() - beforeWei, paid == 0 ? 0 : _callbackWei(req));
        assertLe(paid, 1);
    }

    /* NO ANSWER */

    /// @dev Two seats of three turns; whichever of them is in turn, may be fined, and is suspended when it is drained.
    function _missable(
        IOracle.Request memory req,
        ServiceStore.Service memory service,
        ServiceStore.SeatState[2] memory seats,
        uint256[3] memory roles,
        uint256[4] memory creditsWei,
        uint48 startsAt
    ) private returns (address payer) {
        vm.assume(startsAt <= NOW && NOW - startsAt < 3 * uint256(TURN));
        req.service = SERVICE;
        req.head = req.head & ~(uint256(type(uint48).max) << 208) | (BLOCK - 100) << 208;
        req.rules = _withSeats(_withTurns(req.rules, TURN), 2);
        vm.assume(service.rules.bondWei == _bondWei(req));
        books.setService(SERVICE, service);
        for (uint256 i; i < 2; ++i) {
            seats[i].owner = _cast(roles[i], creditsWei[i]);
            books.setSeat(SERVICE, i, seats[i]);
        }
        payer = _cast(roles[2], creditsWei[2]);
        req.head = _withPayer(req.head, payer);
        books.setOpen(req, startsAt, uint48(BLOCK - 100));
        _account(BURN, creditsWei[3]);
    }

    function _heldWei() private view returns (uint256) {
        return _creditsWei() + _seatWei(0) + _seatWei(1);
    }

    function check_refund(
        IOracle.Request memory req,
        ServiceStore.Service memory service,
        ServiceStore.SeatState[2] memory seats,
        uint256[3] memory roles,
        uint256[4] memory creditsWei,
        uint48 startsAt
    ) external {
        _missable(req, service, seats, roles, creditsWei, startsAt);
        uint256 beforeWei = _heldWei();
        books.refund(req);
        assertEq(_heldWei(), beforeWei + _feeWei(req) + _callbackWei(req));
    }

    function check_cancel(
        IOracle.Request memory req,
        ServiceStore.Service memory service,
        ServiceStore.SeatState[2] memory seats,
        uint256[3] memory roles,
        uint256[4] memory creditsWei,
        uint48 startsAt
    ) external {
        address payer = _missable(req, service, seats, roles, creditsWei, startsAt);
        uint256 beforeWei = _heldWei();
        vm.prank(payer);
        books.cancel(req);
        assertEq(_heldWei(), beforeWei + _feeWei(req) + _callbackWei(req));
    }

    /// @dev An answer takes its bond out of the books until its end, and nothing else; fines for turns missed are burnt.
    function check_answer(
        IOracle.Request memory req,
        ServiceStore.Service memory service,
        ServiceStore.SeatState[2] memory seats,
        uint256[3] memory roles,
        uint256[4] memory creditsWei,
        uint48 startsAt,
        uint24 tokenCount
    ) external {
        address caller = address(0xbee);
        _missable(req, service, seats, roles, creditsWei, startsAt);
        uint256 beforeWei = _heldWei();
        vm.prank(caller);
        books.answer(req, "", tokenCount, 0, blockhash(BLOCK - 98));
        assertEq(_heldWei() + _bondWei(req), beforeWei);
    }

    /* RULINGS */

    /// @dev A bond that was ruled on, and what the arbiter brought, are paid out, burnt or given back; an upheld answer's
    /// bond stays.
    function check_rule(
        IOracle.Request memory req,
        IOracle.Answer memory ans,
        IOracle.Ruling ruling,
        uint72 slashWei,
        IOracle.Payout[2] memory pays,
        uint96 broughtWei,
        ServiceStore.SeatState memory seat,
        uint256[3] memory roles,
        uint256[4] memory creditsWei
    ) external {
        address arbiter = address(0xa7b17e7);
        req.service = SERVICE;
        req.rules = _withTurns(req.rules, TURN);
        ServiceStore.Service memory service;
        service.arbiter = IArbiter(arbiter);
        service.rules.bondWei = uint72(_bondWei(req));
        service.rules.seatCount = 4;
        service.rules.ownerCount = 4;
        books.setService(SERVICE, service);
        ans.head = _withSeat(ans.head);
        _account(BURN, creditsWei[3]); // the first role
        pays[0].account = _cast(roles[0], creditsWei[0]);
        pays[1].account = _cast(roles[1], creditsWei[1]);
        seat.owner = _cast(roles[2], creditsWei[2]);
        books.setSeat(SERVICE, SEAT, seat);
        books.setAnswered(req, ans, IOracle.Status.Disputed, 0);
        IOracle.Payout[] memory payouts = new IOracle.Payout[](2);
        (payouts[0], payouts[1]) = (pays[0], pays[1]);
        uint256 beforeWei = _creditsWei() + seat.money.balanceWei;
        vm.deal(arbiter, broughtWei);
        vm.prank(arbiter);
        books.rule{value: broughtWei}(req, ans, ruling, slashWei, payouts);
        uint256 freedWei = ruling == IOracle.Ruling.Upheld ? 0 : _bondWei(req);
        assertEq(_creditsWei() + _seatWei(SEAT), beforeWei + broughtWei + freedWei);
    }
}
