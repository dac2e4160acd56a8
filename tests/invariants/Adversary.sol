// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IAnswerReferee} from "../../contracts/interfaces/IAnswerReferee.sol";
import {IArbiter} from "../../contracts/interfaces/IArbiter.sol";
import {ICredits} from "../../contracts/interfaces/ICredits.sol";
import {IDisputeGame} from "../../contracts/interfaces/IDisputeGame.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {IRefutations} from "../../contracts/interfaces/IRefutations.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {ITextReferee} from "../../contracts/interfaces/ITextReferee.sol";
import {Burner} from "./Village.sol";
import {Ending} from "./Ledger.sol";
import {Sybils} from "./Sybils.sol";

/// @title Whoever tries to gain against the rules: liar, sybils with any capital, seats that come and go, hostile askers.
/// @notice Deeds take any numbers. They need not succeed: a refusal is what most near-valid calls must meet. What succeeds
/// is seen by `Ledger` from its events alone.
contract Adversary is Sybils {
    uint256 private constant MOST_ASKS = 36;

    constructor() {
        _found();
    }

    /* ASKERS */

    /// @param who honest or hostile. @param how temperature, callback and deadline. @param many at once.
    function ask(uint256 who, uint256 what, uint256 how, uint256 many) public deed {
        for (uint256 n; n <= many % 4; ++n) {
            _askOne(_plus(who, n), _plus(what, n), _plus(how, n));
        }
    }

    function _askOne(uint256 who, uint256 what, uint256 how) private {
        if (asks.length == MOST_ASKS) return;
        _checkPlaces();
        address from = who % 3 == 0 ? payer : burner;
        bytes memory prompt = questions[what % questions.length].prompt;
        if (from == burner && how % 11 == 0) {
            prompt = how % 2 == 0 ? bytes("") : new bytes(longestPrompt + 1 + how % 7);
        }
        IOracle.Params memory params = IOracle.Params({
            maxTokens: uint24(1 + how / 4 % 3),
            temperature: how % 4 == 1 ? uint32(1 << 19) : how % 4 == 2 ? uint32(1 << 16) : 0,
            cutoff: how % 4 == 2 ? uint32(1 << 16) : 0,
            callbackGas: from == burner ? [uint32(0), 12_000_000, 200_000][how / 16 % 3] : 0,
            callbackGasPriceWei: how / 64 % 3 == 0 ? 1 gwei : uint64(how / 64 % 3 - 1),
            deadline: uint48(vm.getBlockTimestamp() + terms.lifetimeSeconds - how % 400),
            valueFinney: 0,
            isPrivate: false
        });
        if (params.temperature != 0) params.maxTokens = 1;
        _ask(from, what % questions.length, prompt, params);
    }

    function _ask(address from, uint256 q, bytes memory prompt, IOracle.Params memory params) private {
        uint256 feeWei =
            terms.basePriceWei + prompt.length * terms.bytePriceWei + params.maxTokens * terms.tokenPriceWei;
        uint256 callbackWei =
            params.callbackGas == 0 ? 0 : (uint256(params.callbackGas) + 60_000) * params.callbackGasPriceWei;
        bool done = _call(
            from, address(oracle), feeWei + callbackWei, abi.encodeCall(IOracle.request, (service, prompt, params))
        );
        bool fits = prompt.length > 0 && prompt.length <= longestPrompt;
        if (!done) {
            if (!fits) _count(Ending.PromptRefused);
            return;
        }
        _promise(fits, "what nobody can answer is refused");
        Ask storage a = asks.push();
        (a.id, a.request) = (newId, newRequest);
        (a.question, a.payer, a.feeWei, a.callbackWei) = (q, from, feeWei, callbackWei);
        (a.maxTokens, a.temperature, a.cutoff) = (params.maxTokens, params.temperature, params.cutoff);
        (a.madeIn, a.startsAt, a.deadline) = (vm.getBlockNumber(), vm.getBlockTimestamp(), params.deadline);
        a.callbackGas = params.callbackGas;
        askOf[a.id] = asks.length;
    }

    /// @dev Terms that leave no room for an answer to the longest prompt.
    function serve(uint256 how) public deed {
        IServices.Terms memory other = terms;
        other.maxPromptBytes = uint32(longestPrompt + how % 4);
        other.maxTokens += uint24(1 + how % 1000);
        bool done = _call(sybils[0], address(oracle), 0, abi.encodeCall(IServices.createService, (other)));
        _promise(!done || other.maxPromptBytes <= longestPrompt, "every request that a service takes has an answer");
    }

    /// @dev Whoever stood in a place when this block began can answer: nobody who left, and nobody drained.
    function _checkPlaces() private {
        if (seatsChangedIn == vm.getBlockNumber()) return;
        uint16 places = oracle.placesOf(service);
        for (uint16 place; place < places; ++place) {
            IServices.Seat memory s = oracle.seatOf(service, oracle.seatAt(service, place, vm.getBlockNumber()));
            bool drawn = s.status == IServices.SeatStatus.Active || s.status == IServices.SeatStatus.Moved;
            _promise(drawn, "no turn falls to a seat that was given up");
            _promise(s.balanceWei >= terms.bondWei || s.locks > 0, "no turn falls to a seat that is drained");
        }
    }

    /* LIARS */

    /// @dev A coalition's seats answer where it is their turn: rightly, or wrongly in one of many ways.
    function answer(uint256 i, uint256 kind, uint256 how) public deed {
        for (uint256 n; n < asks.length; ++n) {
            uint256 k = (i % asks.length + n) % asks.length;
            Ask storage a = asks[k];
            if (a.closed || vm.getBlockNumber() <= a.madeIn + 2 || vm.getBlockTimestamp() > a.deadline) continue;
            if (oracle.statusOf(a.id) != IOracle.Status.Open) continue;
            (bool turns, uint16 seat, address operator) = _turn(a);
            if (!turns || seat < HONEST_SEATS || operator == address(0)) continue;
            _answerAs(k, operator, _plus(kind, n) % 18, _plus(how, n));
            if (how % 4 == 1) _crowd(how >> 16);
            if (how % 3 == 0) return;
        }
    }

    function _answerAs(uint256 k, address operator, uint256 kind, uint256 how) private {
        Ask storage a = asks[k];
        uint32[] memory reading = questions[a.question].reading;
        uint32[] memory ids = _right(a);
        uint256 spot = how % ids.length;
        if (kind == 2 && ids.length > 1) ids = _shorter(ids);
        if (kind >= 7) ids[spot] = uint32(_otherToken(ids[spot], how / 16));
        (bytes memory output, uint256[] memory ends) = _spelled(ids);
        if (kind == 3 && output.length > 0 && how % 2 == 0) output[how / 2 % output.length] ^= 0x01;
        else if (kind == 3) output = bytes.concat(output, "!");
        if (kind == 4) ends[spot] += 1;
        if (kind == 5) reading[how % reading.length] += 1;
        bytes memory entries = _entries(reading, ids, ends);
        uint256 last = entries.length / 8 - 1;
        if (kind == 6 && last >= reading.length + ids.length) entries[last * 8 + 3] = 0x01;
        uint256 promptCount = reading.length;
        if (kind == 1) promptCount = reading.length + 1 - how % 2 * 2;
        if (kind == 9) promptCount = 77; // which nobody can open
        (bool done, Claim storage c) = _send(k, operator, promptCount, ids.length, entries, output);
        if (!done) return;
        c.shown = kind != 8 && kind != 9;
        c.lie = how / 32 % 3 == 0 ? 0 : 1 + how / 96;
    }

    /// @dev Of text, or a stop token, or none at all.
    function _otherToken(uint256 token, uint256 how) private view returns (uint256) {
        if (how % 16 == 0) return stopTokens[0];
        if (how % 16 == 1) return _vocabulary() + how % 9;
        return (token + 1 + how / 16 % (_vocabulary() - 1)) % _vocabulary();
    }

    function _shorter(uint32[] memory ids) private pure returns (uint32[] memory made) {
        made = new uint32[](ids.length - 1);
        for (uint256 i; i < made.length; ++i) {
            made[i] = ids[i];
        }
    }

    /* SEATS */

    function changeSeat(uint256 which, uint256 kind, uint256 how) public deed {
        (uint16 taken,) = oracle.counts(service);
        uint16 spot = uint16(HONEST_SEATS + which % (taken - HONEST_SEATS));
        IServices.Seat memory s = oracle.seatOf(service, spot);
        kind %= 8;
        if (kind == 0) {
            for (uint256 n; n <= how % 4 && taken + n < 24; ++n) {
                _call(joiner, address(oracle), 2 ether + how % 3, abi.encodeCall(IServices.join, (service, joiner)));
            }
            return;
        }
        bytes memory data;
        if (kind == 1) data = abi.encodeCall(IServices.activate, (service, spot));
        if (kind == 2) data = abi.encodeCall(IServices.announceExit, (service, spot));
        if (kind == 3) data = abi.encodeCall(IServices.exit, (service, spot));
        if (kind == 4) data = abi.encodeCall(IServices.topUp, (service, spot));
        if (kind == 5) data = abi.encodeCall(IServices.withdrawFromSeat, (service, spot, uint72(how % 2 ether)));
        if (kind == 6) data = abi.encodeCall(IServices.setOperator, (service, spot, _some(how)));
        if (kind == 7) data = abi.encodeCall(IServices.suspend, (service, spot));
        _call(how % 16 == 0 ? _some(how / 16) : s.owner, address(oracle), kind == 4 ? how % 1 ether : 0, data);
    }

    /* REQUESTS */

    function close(uint256 i, uint256 kind, uint256 how) public deed {
        if (asks.length == 0) return;
        i %= asks.length;
        Ask storage a = asks[i];
        kind %= 7;
        if (kind == 0) return _also(burner, abi.encodeCall(IOracle.cancel, (a.request)));
        if (kind == 1) return _also(_some(how), abi.encodeCall(IOracle.refund, (a.request)));
        if (kind == 2) {
            _call(burner, burner, 0, abi.encodeCall(Burner.turn, ()));
            return;
        }
        if (a.claim == 0) return;
        Claim storage c = claims[a.claim - 1];
        IOracle.Item[] memory items = _items(i);
        if (kind == 3) return _also(_some(how), abi.encodeCall(IOracle.finalize, (items)));
        if (kind == 4) {
            return _also(c.honest ? _some(how) : c.operator, abi.encodeCall(IOracle.leaveCallbacks, (items)));
        }
        if (kind == 5) {
            if (how % 4 != 0 && Burner(burner).burns()) _call(burner, burner, 0, abi.encodeCall(Burner.turn, ()));
            return _also(_some(how), abi.encodeCall(IOracle.retryCallback, (items[0], a.callbackGas)));
        }
        _also(_some(how), abi.encodeCall(IOracle.reclaim, (a.request, c.answer)));
    }

    function _also(address who, bytes memory data) private {
        _call(who, address(oracle), 0, data);
    }

    /// @dev Calls that only others may make, or near to those that somebody may.
    function meddle(uint256 i, uint256 kind, uint256 how) public deed {
        if (claims.length == 0) return;
        Claim storage c = claims[i % claims.length];
        Ask storage a = asks[c.ask];
        bytes memory data;
        address to = address(oracle);
        kind %= 9;
        IOracle.Payout[] memory payouts = new IOracle.Payout[](1);
        payouts[0] = IOracle.Payout(sybils[0], uint96(how % 1 ether));
        if (kind == 0) data = abi.encodeCall(IOracle.dispute, (a.request, c.answer));
        if (kind == 1) {
            data = abi.encodeCall(IOracle.rule, (a.request, c.answer, IOracle.Ruling.Rejected, 1 ether, payouts));
        }
        if (kind == 2) {
            data = abi.encodeCall(IServices.withdrawFromSeat, (service, uint16(how % 3), uint72(1 + how % 9)));
        }
        if (kind == 3) data = abi.encodeCall(IServices.setOperator, (service, uint16(how % 3), sybils[0]));
        if (kind == 4) data = abi.encodeCall(IServices.announceExit, (service, uint16(how % 3)));
        if (kind == 5) data = abi.encodeWithSignature("withdraw(address,uint256)", sybils[0], 1 + how % 1 ether);
        if (kind == 6) data = abi.encodeCall(IServices.suspend, (service, uint16(how % 3)));
        if (kind > 6) to = address(game);
        if (kind == 7) data = abi.encodeCall(IDisputeGame.refuted, (a.request, c.answer, sybils[0]));
        if (kind == 8) {
            if (bouts.length == 0) return;
            data = abi.encodeCall(IDisputeGame.won, (bouts[how % bouts.length].id, a.request, c.answer));
        }
        if (how % 5 == 0) _mutate(data, how / 5);
        _call(_some(how / 2), to, 0, data);
        _stray(c, how / 8);
    }

    /// @dev Calls that have no place in the village: proofs about prompts of other kinds, locks of seats, an attested answer,
    /// gifts.
    function _stray(Claim storage c, uint256 how) private {
        uint256 kind = how % 11;
        how /= 11;
        address to = kind < 3 ? address(refutations) : kind < 5 ? address(answerReferee) : address(oracle);
        bytes memory data;
        if (kind < 5) data = _proofOfAnotherKind(c, kind, how);
        if (kind == 5) {
            data = abi.encodeCall(
                IOracle.answerAttested,
                (asks[c.ask].request, c.output, uint24(c.count), c.root, c.answer.seedBlockHash, "", how % 2 == 0)
            );
        }
        if (kind == 6) data = abi.encodeCall(IServices.lockSeat, (service, uint16(how % 8)));
        if (kind == 7) data = abi.encodeCall(IServices.unlockSeat, (service, uint16(how % 8), 1 ether));
        if (kind == 8) data = abi.encodeCall(ICredits.deposit, (_some(how / 4)));
        if (kind == 9) data = abi.encodeCall(ICredits.burn, ());
        if (kind == 10) (to, data) = (address(game), abi.encodeCall(IArbiter.adopt, (service, terms)));
        if (how % 5 == 0 && kind != 8) _mutate(data, how / 5);
        _call(_some(how / 2), to, kind == 8 ? how % 1 ether : 0, data);
    }

    /// @dev Of words, choices and patterns, none of which the village is asked.
    function _proofOfAnotherKind(Claim storage c, uint256 kind, uint256 how) private view returns (bytes memory) {
        Ask storage a = asks[c.ask];
        uint256 index = c.promptCount + how % c.count;
        bytes memory prompt = questions[a.question].prompt;
        if (kind == 0) {
            return abi.encodeCall(
                IRefutations.refutePrompt, (a.request, c.answer, _tokens(c), prompt, _misread(c, index, how / 8))
            );
        }
        IReferee.Input[] memory inputs = new IReferee.Input[](kind == 3 ? 2 : kind == 4 ? 5 : 1 + how % 2);
        for (uint256 i; i < inputs.length; ++i) {
            inputs[i] = _entryInput(c.entries, index - i % 2);
        }
        if (kind == 1) {
            return abi.encodeCall(
                IRefutations.refuteAnswer, (a.request, c.answer, _tokens(c), prompt, c.output, index, inputs[0])
            );
        }
        if (kind == 2) {
            IAnswerReferee.PatternFault fault = IAnswerReferee.PatternFault(how / 8 % 3);
            return abi.encodeCall(
                IRefutations.refutePattern, (a.request, c.answer, _tokens(c), fault, index, prompt, c.output, inputs)
            );
        }
        IDisputeGame.GameId id = bouts.length == 0 ? IDisputeGame.GameId.wrap(1) : bouts[how % bouts.length].id;
        if (kind == 3) {
            return abi.encodeCall(
                IAnswerReferee.proveMargin,
                (game, id, a.request, c.answer, _tokens(c), prompt, c.output, how % 400, inputs)
            );
        }
        return abi.encodeCall(
            IAnswerReferee.provePattern,
            (game, id, a.request, c.answer, _tokens(c), prompt, c.output, how % 400, inputs)
        );
    }

    function _misread(Claim storage c, uint256 index, uint256 how)
        private
        view
        returns (ITextReferee.Proof memory shown)
    {
        shown.fault = ITextReferee.Fault(how % 10);
        (shown.index, shown.other) = (index % c.promptCount, how / 16 % 400);
        shown.tokens = new ITextReferee.Leaf[](1 + how % 3);
        for (uint256 i; i < shown.tokens.length; ++i) {
            IReferee.Input memory entry = _entryInput(c.entries, shown.index + i);
            shown.tokens[i] = ITextReferee.Leaf(entry.data, entry.proof);
        }
        shown.entries = new ITextReferee.Leaf[](how % 2);
        shown.right = new ITextReferee.Leaf[](0);
    }

    /* TIME */

    /// @dev Blocks pass, and the honest side does its work in each.
    function pass(uint256 blocks) public deed {
        uint256 count = blocks % 16 == 0 ? 60 : blocks % 12;
        for (uint256 n; n <= count; ++n) {
            this.tick();
        }
    }

    /// @dev An honest node's engine is down for a while.
    function sleep(uint256 i, uint256 time) public deed {
        address operator = honest[i % HONEST_SEATS];
        if (_isDown(operator)) return;
        outages[operator].push(vm.getBlockTimestamp());
        outages[operator].push(vm.getBlockTimestamp() + 12 + time % 180);
    }

    /* THE END */

    /// @notice Everybody goes home: the coalition does nothing more, and all that is open is closed.
    function windDown() external deed {
        for (uint256 n; n < 3_000 && _busy(); ++n) {
            this.step();
        }
        _promise(!_busy(), "everything ends");
        collect(0);
        vm.warp(vm.getBlockTimestamp() + 60 days);
        vm.roll(vm.getBlockNumber() + 432_000);
        for (uint256 i; i < asks.length; ++i) {
            close(i, 6, 0);
        }
        (uint16 taken,) = oracle.counts(service);
        for (uint16 i; i < taken; ++i) {
            _also(oracle.seatOf(service, i).owner, abi.encodeCall(IServices.exit, (service, i)));
        }
        collect(0);
        _reckon();
    }

    /// @dev A block of the end, or the time until something is due.
    function step() external {
        _closeOthers();
        if (_honestAreBusy()) _block();
        else _skip();
        uint256[] memory all = openBouts;
        for (uint256 k; k < all.length; ++k) {
            Bout storage b = bouts[all[k]];
            if (claims[b.claim].dead) _call(sybils[0], address(game), 0, abi.encodeCall(IDisputeGame.settle, (b.id)));
            else if (vm.getBlockTimestamp() > game.gameOf(b.id).turn.deadline) _stop(sybils[0], all[k]);
        }
    }

    /// @dev What anybody may close, the coalition has no reason to.
    function _closeOthers() private {
        for (uint256 i; i < asks.length; ++i) {
            Ask storage a = asks[i];
            if (a.closed) continue;
            IOracle.Status status = oracle.statusOf(a.id);
            if (status == IOracle.Status.Open && vm.getBlockTimestamp() > a.deadline) {
                _also(sybils[0], abi.encodeCall(IOracle.refund, (a.request)));
            } else if (status == IOracle.Status.Answered && !claims[a.claim - 1].honest) {
                _also(sybils[0], abi.encodeCall(IOracle.finalize, (_items(i))));
            }
        }
    }

    /// @dev Whether anything is still open.
    function _busy() private view returns (bool) {
        if (openBouts.length > 0) return true;
        for (uint256 i; i < asks.length; ++i) {
            if (!asks[i].closed) return true;
        }
        return false;
    }

    /// @dev Whether the honest side may have something to do in the next block.
    function _honestAreBusy() private view returns (bool) {
        for (uint256 i; i < asks.length; ++i) {
            if (!asks[i].closed && oracle.statusOf(asks[i].id) != IOracle.Status.Disputed) return true;
        }
        for (uint256 k; k < openBouts.length; ++k) {
            Bout storage b = bouts[openBouts[k]];
            if (b.challenger != challenger && !claims[b.claim].honest) continue;
            if (claims[b.claim].dead) return true;
            if (game.gameOf(b.id).turn.nodeToMove == claims[b.claim].honest) return true;
        }
        return false;
    }

    /// @dev To the first clock that runs out.
    function _skip() private {
        uint256 first = type(uint256).max;
        for (uint256 k; k < openBouts.length; ++k) {
            uint256 deadline = game.gameOf(bouts[openBouts[k]].id).turn.deadline;
            if (claims[bouts[openBouts[k]].claim].dead) deadline = 0;
            if (deadline < first) first = deadline;
        }
        uint256 time = vm.getBlockTimestamp();
        if (first != type(uint256).max && first >= time) {
            vm.roll(vm.getBlockNumber() + (first - time) / BLOCK_SECONDS);
            vm.warp(first + 1 - BLOCK_SECONDS);
        }
        _block();
    }

    /// @dev What everybody has in the end.
    function _reckon() private {
        for (uint256 i; i < honest.length; ++i) {
            bool whole = _worthOf(honest[i]) + finedWei[honest[i]] >= brought[honest[i]];
            _promise(whole, "an honest node loses nothing but fines for turns that it could have taken");
        }
        _promise(_worthOf(challenger) >= brought[challenger], "an honest challenger loses nothing");
        address[] memory others = _coalition();
        uint256 hasWei;
        uint256 broughtWei = earnedWei;
        for (uint256 i; i < others.length; ++i) {
            hasWei += _worthOf(others[i]);
            broughtWei += brought[others[i]];
        }
        _promise(hasWei <= broughtWei, "nobody profits against the honest side");
    }
}
