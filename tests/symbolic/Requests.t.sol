// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ServiceStore} from "../../contracts/ServiceStore.sol";
import {IArbiter} from "../../contracts/interfaces/IArbiter.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {RequestLib} from "../../contracts/libraries/RequestLib.sol";
import {Ledger} from "./Ledger.sol";

/// @title What a request escrows is what its end credits: fee, callback, bond.
/// @dev What is expected is computed without checks of overflow, which would be branches of their own: all of it is far below 2^256.
/// Amounts, gas, tokens, prices, fines, statuses and histories of seats are symbols. What moves no money is fixed: the
/// time, hashes, how many turns were missed, and which accounts are the same: none, unless a check says so.
contract RequestConservation is Ledger {
    using RequestLib for IOracle.Request;
    using RequestLib for IOracle.Answer;

    uint256 internal constant NOW = 1_800_000_000;
    uint256 internal constant BLOCK = 1_000_000;
    uint256 internal constant TURN = 60;
    address internal constant STRANGER = address(0xbee);

    function setUp() public virtual override {
        super.setUp();
        vm.warp(NOW);
        vm.roll(BLOCK);
    }

    /* WHAT A REQUEST HOLDS */

    /// @dev Fields of `rules` and `money` that are money, or become it.
    struct Held {
        uint24 maxTokens;
        uint32 callbackGas;
        uint64 callbackGasPriceWei;
        uint96 feeWei;
        uint64 tokenPriceWei;
        uint72 bondWei;
    }

    function _anyHeld() internal pure returns (Held memory held) {
        held.maxTokens = uint24(_any(24, "maxTokens"));
        held.callbackGas = uint32(_any(32, "callbackGas"));
        held.callbackGasPriceWei = uint64(_any(64, "callbackGasPriceWei"));
        held.feeWei = uint96(_any(96, "feeWei"));
        held.tokenPriceWei = uint64(_any(64, "tokenPriceWei"));
        held.bondWei = uint72(_any(72, "bondWei"));
    }

    /// @dev Whose price is any amount of 64 bits: where tokens are many, the solver does not end with the product.
    function _anyHeldForOneToken() internal pure returns (Held memory held) {
        held = _anyHeld();
        held.maxTokens = 1;
    }

    function _anySeat(address operator) internal pure returns (ServiceStore.SeatMoney memory money) {
        money.operator = operator;
        money.balanceWei = uint72(_any(72, "balanceWei"));
        money.openAnswers = uint8(_any(8, "openAnswers"));
        money.shortUntil = uint8(_any(8, "shortUntil"));
        money.status = IServices.SeatStatus(_any(3, "status"));
    }

    function _request(Held memory held, address payer, uint256 deadline, uint16 seats)
        internal
        view
        returns (IOracle.Request memory req)
    {
        IOracle.Params memory params;
        (params.maxTokens, params.callbackGas, params.callbackGasPriceWei) =
        (held.maxTokens, held.callbackGas, held.callbackGasPriceWei);
        req.service = SERVICE;
        req.head = RequestLib.packHead(payer, uint48(deadline), uint48(BLOCK - 100));
        req.rules = this.packed(params, uint24(TURN), 1, seats);
        req.money = RequestLib.packMoney(held.feeWei, held.tokenPriceWei, held.bondWei, 0);
    }

    function packed(IOracle.Params calldata params, uint24 turnSeconds, uint24 windowSeconds, uint16 seats)
        external
        pure
        returns (uint256)
    {
        return RequestLib.packRules(params, turnSeconds, windowSeconds, seats);
    }

    function _callbackWei(Held memory held) internal pure returns (uint256) {
        unchecked {
            return held.callbackGas == 0 ? 0 : (uint256(held.callbackGas) + 60_000) * held.callbackGasPriceWei;
        }
    }
}

/// @title Asking: the ether that comes with a request is what the request says it escrows.
contract AskingConservation is RequestConservation {
    using RequestLib for IOracle.Request;

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
        uint256 callbackWei = params.callbackGas == 0
            ? 0
            : (uint256(params.callbackGas) + books.CALLBACK_OVERHEAD_GAS()) * params.callbackGasPriceWei;
        assertEq(amountWei, uint96(req.money) + callbackWei);
    }
}

/// @title The answer stands: bond, fee and callback go to the seat, the caller and the payer, and nobody gets more.
contract SettlingConservation is RequestConservation {
    uint16 private constant SEAT = 3;
    uint256 private constant PAYER = 0;
    uint256 private constant CALLER = 1;
    uint256 private constant OWNER = 2;

    /// @param byOperator whether the operator of the seat calls; else a stranger operates it.
    /// @dev What each gets is compared by itself. That it adds up to fee, callback and bond can be seen: unused tokens go to
    /// the payer and the others' price to the seat, and what a full seat cannot hold goes to its owner.
    /// @param alike whether payer, caller and the seat's owner are one account; else each is another.
    function _settled(bool byOperator, bool leaves, bool alike) private {
        Held memory held = _anyHeldForOneToken();
        // With a product in the sum that a seat gets, the solver does not end: the callback's price is any multiple of 2^17.
        if (byOperator) held.callbackGas = (1 << 17) - 60_000;
        uint24 tokenCount = uint24(_any(1, "tokenCount"));
        uint256[] memory creditsWei = _anyCredits(3);
        if (leaves) vm.assume(held.callbackGas != 0);
        address[3] memory roles;
        for (uint256 i; i < 3; ++i) {
            roles[i] = _cast(alike ? 0 : i, creditsWei[i]);
        }
        ServiceStore.SeatMoney memory money = _anySeat(byOperator ? roles[CALLER] : STRANGER);
        books.setSeat(SERVICE, SEAT, ServiceStore.SeatState(money, roles[OWNER], 0, 0, 0));
        IOracle.Item[] memory items = new IOracle.Item[](1);
        items[0].request = _request(held, roles[PAYER], NOW - 2, 1);
        items[0].answer.head = RequestLib.packAnswerHead(0, SEAT, uint48(NOW - 1), tokenCount);
        items[0].answer.outputHash = keccak256("");
        books.setAnswered(items[0].request, items[0].answer, IOracle.Status.Answered, 0);
        vm.prank(roles[CALLER]);
        if (leaves) books.leaveCallbacks(items);
        else books.finalize(items);

        unchecked {
            uint256 unusedWei = uint256(held.tokenPriceWei) * (held.maxTokens - uint256(tokenCount));
            uint256 callbackWei = leaves ? 0 : _callbackWei(held);
            uint256 toSeatWei = held.bondWei + (held.feeWei - unusedWei) + (byOperator ? callbackWei : 0);
            uint256 seatWei = money.balanceWei + toSeatWei;
            uint256 overWei = seatWei > type(uint72).max ? seatWei - type(uint72).max : 0;
            assertEq(_seatWei(SEAT), seatWei - overWei);
            if (byOperator) callbackWei = 0;
            if (alike) {
                assertEq(books.credit(roles[PAYER]), creditsWei[PAYER] + callbackWei + overWei + unusedWei);
            } else {
                assertEq(books.credit(roles[OWNER]), creditsWei[OWNER] + overWei);
                assertEq(books.credit(roles[PAYER]), creditsWei[PAYER] + unusedWei);
                assertEq(books.credit(roles[CALLER]), creditsWei[CALLER] + callbackWei);
            }
        }
    }

    function check_finalize() external {
        _settled(false, false, false);
    }

    function check_finalizeForOneself() external {
        _settled(false, false, true);
    }

    function check_finalizeByOperator() external {
        _settled(true, false, false);
    }

    /// @dev What the callback escrowed stays.
    function check_leaveCallbacks() external {
        _settled(true, true, false);
    }
}

/// @title A payer that takes every callback.
contract Taker {
    function onAnswer(uint256, bytes calldata) external {}
}

/// @title A callback that was left is paid once: to whoever delivers it, or back to the payer.
contract LeavingConservation is RequestConservation {
    Taker private _taker;

    function setUp() public override {
        super.setUp();
        _taker = new Taker();
    }

    /// @param closesAt of the answer: so all calls are in time, or too late, or retrying has ended.
    function _left(uint48 closesAt, bool[3] memory reclaims) private {
        Held memory held = _anyHeld();
        uint256[] memory creditsWei = _anyCredits(2);
        held.callbackGas = 100_000;
        IOracle.Request memory req = _request(held, address(_taker), NOW - 2, 1);
        IOracle.Answer memory ans;
        ans.head = RequestLib.packAnswerHead(0, 0, closesAt, 1);
        ans.outputHash = keccak256("");
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
        assertEq(_creditsWei() - beforeWei, paid == 0 ? 0 : _callbackWei(held));
        assertLe(paid, 1);
    }

    function check_leftAndDelivered(bool[3] memory reclaims) external {
        _left(uint48(NOW - 1), reclaims);
    }

    function check_leftAndReclaimed(bool[3] memory reclaims) external {
        _left(uint48(NOW - 31 days), reclaims);
    }
}

/// @title No answer, or a late one. The seats in turn may be fined, and are suspended when they are drained.
contract MissingConservation is RequestConservation {
    using RequestLib for IOracle.Request;

    /// @param turns that have passed.
    /// @param seatCount 1 or 2 of the seats are drawn.
    function _open(
        Held memory held,
        address operator,
        uint256 payerRole,
        uint256 turns,
        uint16 seatCount,
        uint256 deadline
    ) private returns (IOracle.Request memory req, address payer) {
        ServiceStore.Service memory service;
        service.prices.baseWei = uint64(_any(64, "baseWei"));
        service.missPenaltyWei = uint72(_any(72, "missPenaltyWei"));
        service.rules.bondWei = held.bondWei;
        (service.rules.seatCount, service.rules.ownerCount) = (seatCount, seatCount);
        books.setService(SERVICE, service);
        uint256[] memory creditsWei = _anyCredits(4);
        for (uint16 i; i < seatCount; ++i) {
            address owner = _cast(i, creditsWei[i]);
            uint48 readyAt = uint48(_any(48, "readyAt"));
            books.setSeat(SERVICE, i, ServiceStore.SeatState(_anySeat(operator), owner, readyAt, i, 0));
            books.setActive(SERVICE, owner, 2);
        }
        payer = _cast(payerRole, creditsWei[2]);
        _account(BURN, creditsWei[3]);
        req = _request(held, payer, deadline, seatCount);
        books.setOpen(req, uint48(NOW - turns * TURN - 1), uint48(BLOCK - 100));
    }

    /// @dev Payer and burnt together get the escrow and what seats were fined; half of what is burnt is the payer's.
    /// Where turns were missed there is no callback: its price is part of the escrow before any fine is looked at.
    function _refunded(uint256 turns, uint16 seatCount) private {
        Held memory held = _anyHeld();
        if (turns > 0) held.callbackGas = 0;
        (IOracle.Request memory req, address payer) = _open(held, STRANGER, 2, turns, seatCount, NOW - 1);
        uint256[3] memory beforeWei = [_seatWei(0) + _seatWei(1), books.credit(payer), books.credit(BURN)];
        books.refund(req);
        unchecked {
            uint256 finesWei = beforeWei[0] - (_seatWei(0) + _seatWei(1));
            assertEq(books.credit(BURN), beforeWei[2] + 2 * finesWei);
            assertEq(books.credit(payer), beforeWei[1] + (held.feeWei + _callbackWei(held) - finesWei));
            if (turns == 0) assertEq(finesWei, 0);
        }
    }

    function check_refund() external {
        _refunded(0, 1);
    }

    function check_refundAfterOneTurn() external {
        _refunded(1, 1);
    }

    function check_refundAfterTwoTurns() external {
        _refunded(2, 1);
    }

    /// @dev The seat in turn, once it is active, is paid for reading the prompt; the payer gets the rest.
    /// @param payerRole 0: the owner of the seat in turn pays.
    function _cancelled(uint256 payerRole) private {
        Held memory held = _anyHeldForOneToken();
        (IOracle.Request memory req, address payer) = _open(held, STRANGER, payerRole, 1, 1, NOW + 1);
        ServiceStore.SeatState memory seat = books.seatState(SERVICE, 0);
        uint256[2] memory beforeWei = [books.credit(payer), books.credit(seat.owner)];
        vm.prank(payer);
        books.cancel(req);

        unchecked {
            uint256 promptWei = books.isDrawn(req) && seat.money.status >= IServices.SeatStatus.Active
                ? held.feeWei - uint256(held.tokenPriceWei) * held.maxTokens
                : 0;
            uint256 seatWei = seat.money.balanceWei + promptWei;
            uint256 overWei = seatWei > type(uint72).max ? seatWei - type(uint72).max : 0;
            uint256 refundWei = held.feeWei + _callbackWei(held) - promptWei;
            assertEq(_seatWei(0), seatWei - overWei);
            if (payer != seat.owner) assertEq(books.credit(seat.owner), beforeWei[1] + overWei);
            assertEq(books.credit(payer), beforeWei[0] + refundWei + (payer == seat.owner ? overWei : 0));
        }
    }

    function check_cancel() external {
        _cancelled(2);
    }

    function check_cancelByTheSeat() external {
        _cancelled(0);
    }

    /// @dev An answer takes its bond out of the seats and nothing else; fines for turns missed are burnt.
    function _answered(uint256 turns, uint16 seatCount) private {
        Held memory held = _anyHeld();
        (IOracle.Request memory req,) = _open(held, STRANGER, 2, turns, seatCount, NOW + 1);
        uint24 tokenCount = uint24(_any(24, "tokenCount"));
        uint256[2] memory beforeWei = [_seatWei(0) + _seatWei(1), books.credit(BURN)];
        vm.prank(STRANGER);
        books.answer(req, "", tokenCount, 0, blockhash(BLOCK - 98));
        unchecked {
            uint256 burntWei = books.credit(BURN) - beforeWei[1];
            assertEq(beforeWei[0], _seatWei(0) + _seatWei(1) + held.bondWei + burntWei);
            if (turns == 0) assertEq(burntWei, 0);
        }
    }

    function check_answer() external {
        _answered(0, 1);
    }

    function check_answerAfterOneTurn() external {
        _answered(1, 1);
    }

    function check_answerAfterOneTurnOfTwoSeats() external {
        _answered(1, 2);
    }
}

/// @title Rulings: a bond that was ruled on, and what the arbiter brought, are paid out, burnt or given back; an upheld
/// answer's bond stays.
contract RulingConservation is RequestConservation {
    address private constant ARBITER = address(0xa7b17e7);
    uint16 private constant SEAT = 1;

    /// @dev What each gets is compared by itself; together that is what was brought and, unless the answer is upheld, its bond.
    function _ruled(IOracle.Ruling ruling) private {
        uint256[] memory creditsWei = _anyCredits(4);
        ServiceStore.Service memory service;
        service.arbiter = IArbiter(ARBITER);
        Held memory held;
        held.bondWei = service.rules.bondWei = uint72(_any(72, "bondWei"));
        (service.rules.seatCount, service.rules.ownerCount) = (2, 2);
        books.setService(SERVICE, service);
        _account(BURN, creditsWei[3]); // the first role
        IOracle.Payout[] memory payouts = new IOracle.Payout[](2);
        for (uint256 i; i < 2; ++i) {
            payouts[i] = IOracle.Payout(_cast(i + 1, creditsWei[i]), uint96(_any(96, "payoutWei")));
        }
        address owner = _cast(3, creditsWei[2]);
        ServiceStore.SeatMoney memory money = _anySeat(STRANGER);
        books.setSeat(SERVICE, SEAT, ServiceStore.SeatState(money, owner, 0, SEAT, 0));
        books.setActive(SERVICE, owner, 2);
        IOracle.Request memory req = _request(held, STRANGER, NOW + 1, 2);
        IOracle.Answer memory ans;
        ans.head = RequestLib.packAnswerHead(0, SEAT, uint48(NOW), 1);
        books.setAnswered(req, ans, IOracle.Status.Disputed, 0);
        uint256 broughtWei = _any(96, "broughtWei");
        uint72 slashWei = uint72(_any(72, "slashWei"));
        vm.deal(ARBITER, broughtWei);
        vm.prank(ARBITER);
        books.rule{value: broughtWei}(req, ans, ruling, slashWei, payouts);

        unchecked {
            uint256 freedWei = ruling == IOracle.Ruling.Upheld ? 0 : held.bondWei - slashWei;
            uint256 seatWei = money.balanceWei + freedWei;
            uint256 overWei = seatWei > type(uint72).max ? seatWei - type(uint72).max : 0;
            uint256 paidWei;
            for (uint256 i; i < 2; ++i) {
                assertEq(books.credit(payouts[i].account), creditsWei[i] + payouts[i].amountWei);
                paidWei += payouts[i].amountWei;
            }
            assertEq(books.credit(BURN), creditsWei[3] + (slashWei + broughtWei - paidWei));
            assertEq(books.credit(owner), creditsWei[2] + overWei);
            assertEq(_seatWei(SEAT), seatWei - overWei);
            if (ruling == IOracle.Ruling.Upheld) assertEq(slashWei, 0);
        }
    }

    function check_upheld() external {
        _ruled(IOracle.Ruling.Upheld);
    }

    function check_rejected() external {
        _ruled(IOracle.Ruling.Rejected);
    }

    function check_annulled() external {
        _ruled(IOracle.Ruling.Annulled);
    }
}
