// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IDisputeGame} from "../../contracts/interfaces/IDisputeGame.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {Player} from "./Player.sol";

/// @title What the honest side does in each block, as slowly as a service's terms allow.
/// @notice A node answers when it is its turn; makes one opening a block, the most urgent first; has worked PREFILL blocks on
/// an answer before it opens anything of it; and takes its bonds back. The challenger challenges every wrong answer in the
/// block after it was given, once, for the highest price that there may be. Others move before and after them.
abstract contract Honest is Player {
    uint256 internal constant PREFILL = 4;

    function _block() internal {
        _mine();
        for (uint256 i; i < asks.length; ++i) {
            if (!asks[i].closed) _attend(i);
        }
        _watch();
        _playGames();
    }

    function _isDown(address operator) internal view returns (bool) {
        uint256[] storage down = outages[operator];
        return down.length > 0 && vm.getBlockTimestamp() < down[down.length - 1];
    }

    /* NODES */

    /// @dev A request that nobody closed: answered by the honest node whose turn it is, or finalized.
    function _attend(uint256 i) private {
        Ask storage a = asks[i];
        IOracle.Status status = oracle.statusOf(a.id);
        if (status == IOracle.Status.Open) {
            if (vm.getBlockNumber() <= a.madeIn + 2) return;
            if (vm.getBlockTimestamp() > a.deadline) {
                if (a.payer == payer) _call(payer, address(oracle), 0, abi.encodeCall(IOracle.refund, (a.request)));
                return;
            }
            (bool turns, uint16 seat, address operator) = _turn(a);
            if (turns && seat < HONEST_SEATS && !_isDown(operator)) _answerRightly(i, seat, operator);
        } else if (status == IOracle.Status.Answered) {
            Claim storage c = claims[a.claim - 1];
            if (c.honest && vm.getBlockTimestamp() > _closesAt(c)) _takeBondBack(i);
        }
    }

    function _turn(Ask storage a) internal view returns (bool, uint16, address) {
        try lens.turnOf(a.request) returns (uint32, uint16 seat, address operator) {
            return (true, seat, operator);
        } catch {
            return (false, 0, address(0));
        }
    }

    function _answerRightly(uint256 i, uint16 seat, address operator) private {
        if (oracle.seatOf(service, seat).balanceWei < terms.bondWei) return;
        (bool done,) = _post(i, operator, questions[asks[i].question].reading, _right(asks[i]));
        _promise(done, "an honest node whose turn it is can answer");
    }

    /// @dev Text and tokens that belong together.
    function _spelled(uint32[] memory ids) internal view returns (bytes memory output, uint256[] memory ends) {
        ends = new uint256[](ids.length);
        for (uint256 i; i < ids.length; ++i) {
            output = bytes.concat(output, _spelling(ids[i]));
            ends[i] = output.length;
        }
    }

    function _post(uint256 i, address operator, uint32[] memory reading, uint32[] memory ids)
        internal
        returns (bool, Claim storage)
    {
        (bytes memory output, uint256[] memory ends) = _spelled(ids);
        return _send(i, operator, reading.length, ids.length, _entries(reading, ids, ends), output);
    }

    /// @dev Posts an answer. entries: all leaves of its tokens.
    function _send(
        uint256 i,
        address operator,
        uint256 promptCount,
        uint256 count,
        bytes memory entries,
        bytes memory output
    ) internal returns (bool done, Claim storage c) {
        Ask storage a = asks[i];
        bytes32 root = _root(_tokenLeaves(entries));
        bytes32 committed = keccak256(abi.encode(promptCount, root));
        bytes memory data = abi.encodeCall(
            IOracle.answer, (a.request, output, uint24(count), committed, keccak256(_header(a.madeIn + 2)))
        );
        c = claims.push();
        done = _call(operator, address(oracle), 0, data);
        if (!done) {
            claims.pop();
            return (false, c);
        }
        c.answer = newAnswer;
        (c.ask, c.output, c.entries) = (i, output, entries);
        (c.promptCount, c.count, c.root, c.operator) = (promptCount, count, root, operator);
        c.seat = uint16(newAnswer.head >> 32);
        c.honest = c.seat < HONEST_SEATS;
        c.right = _isRight(a, committed, output);
        c.shown = true;
        c.caseId = game.caseIdOf(a.request, newAnswer);
        claimOf[c.caseId] = claims.length;
        a.claim = claims.length;
    }

    function _isRight(Ask storage a, bytes32 committed, bytes memory output) private view returns (bool) {
        uint32[] memory ids = _right(a);
        uint32[] memory reading = questions[a.question].reading;
        (bytes memory text, uint256[] memory ends) = _spelled(ids);
        bytes32 root = _root(_tokenLeaves(_entries(reading, ids, ends)));
        return committed == keccak256(abi.encode(reading.length, root)) && keccak256(output) == keccak256(text);
    }

    /// @dev Makes the callback if it is worth its gas, else leaves it.
    function _takeBondBack(uint256 i) private {
        Ask storage a = asks[i];
        Claim storage c = claims[a.claim - 1];
        bool leaves = a.callbackGas > 0 && a.callbackWei < a.callbackGas * 1 gwei;
        bytes memory data = leaves
            ? abi.encodeCall(IOracle.leaveCallbacks, (_items(i)))
            : abi.encodeCall(IOracle.finalize, (_items(i)));
        uint256 gas = gasleft();
        vm.prank(c.operator);
        vm.recordLogs();
        (bool done,) = address(oracle).call{gas: BLOCK_GAS}(data);
        gas -= gasleft();
        _promise(done, "an honest node gets its bond back");
        _promise(gas < LEAST_GAS || !leaves, "a bond comes back for little gas, whatever the callback");
        if (done) _heed(bytes4(data), data, vm.getRecordedLogs());
    }

    function _items(uint256 i) internal view returns (IOracle.Item[] memory items) {
        Claim storage c = claims[asks[i].claim - 1];
        items = new IOracle.Item[](1);
        items[0] = IOracle.Item(asks[i].request, c.answer, c.output);
    }

    /* THE CHALLENGER */

    function _watch() private {
        for (uint256 i; i < claims.length; ++i) {
            Claim storage c = claims[i];
            if (!c.right && !c.doubted && _stands(i)) _doubt(c);
        }
    }

    function _doubt(Claim storage c) private {
        Ask storage a = asks[c.ask];
        if (!c.shown) {
            bytes memory unread = abi.encodeCall(IDisputeGame.challengeUnread, (a.request, c.answer));
            _challenge(c, unread);
            return;
        }
        (bool faulty, bytes memory refuting) = _fault(c);
        if (faulty) {
            c.doubted = _call(challenger, address(refutations), 0, refuting);
            return;
        }
        bytes memory challenge =
            abi.encodeCall(IDisputeGame.challenge, (a.request, c.answer, _tokens(c), _firstWrong(c)));
        _challenge(c, challenge);
    }

    function _challenge(Claim storage c, bytes memory data) private {
        c.doubted = _call(challenger, address(game), _ceilingWei(), data);
        _promise(c.doubted || vm.getBlockTimestamp() > _closesAt(c), "whoever pays the ceiling in time can challenge");
    }

    /* GAMES */

    /// @dev All that the honest side has to do in games.
    function _playGames() private {
        uint256[] memory all = openBouts;
        uint256[HONEST_SEATS] memory urgent;
        uint256[HONEST_SEATS] memory due;
        for (uint256 k; k < all.length; ++k) {
            uint256 b = all[k];
            Claim storage c = claims[bouts[b].claim];
            bool mine = bouts[b].challenger == challenger;
            if (c.dead) {
                if (mine) _call(challenger, address(game), 0, abi.encodeCall(IDisputeGame.settle, (bouts[b].id)));
                continue;
            }
            if (!mine && !c.honest) continue;
            IDisputeGame.Game memory g = game.gameOf(bouts[b].id);
            if (g.turn.stage == IDisputeGame.Stage.Over) continue;
            if (vm.getBlockTimestamp() > g.turn.deadline) {
                if (g.turn.nodeToMove == mine) _stop(mine ? challenger : c.operator, b);
                continue;
            }
            if (mine && !g.turn.nodeToMove) {
                (address to, bytes memory data) = _attack(b, g);
                _call(challenger, to, 0, data);
            } else if (c.honest && g.turn.nodeToMove) {
                if (due[c.seat] == 0 || g.turn.deadline < due[c.seat]) {
                    (urgent[c.seat], due[c.seat]) = (b, g.turn.deadline);
                }
            }
        }
        for (uint256 seat; seat < HONEST_SEATS; ++seat) {
            if (due[seat] != 0) _open(urgent[seat]);
        }
    }

    function _open(uint256 b) private {
        Claim storage c = claims[bouts[b].claim];
        if (c.prefilled < PREFILL) {
            ++c.prefilled;
            return;
        }
        IDisputeGame.Game memory g = game.gameOf(bouts[b].id);
        bool done = _call(c.operator, address(game), 0, _opening(b, g));
        _promise(done, "an honest node can open what it committed to");
    }

    function _stop(address who, uint256 b) internal returns (bool) {
        Claim storage c = claims[bouts[b].claim];
        return _call(
            who, address(game), 0, abi.encodeCall(IDisputeGame.timeout, (bouts[b].id, asks[c.ask].request, c.answer))
        );
    }
}
