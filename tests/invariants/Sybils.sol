// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IDisputeGame} from "../../contracts/interfaces/IDisputeGame.sol";
import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {IRefutations} from "../../contracts/interfaces/IRefutations.sol";
import {ITokenReferee} from "../../contracts/interfaces/ITokenReferee.sol";
import {Paths} from "../../contracts/disputes/Paths.sol";
import {Lie} from "./Book.sol";
import {Honest} from "./Honest.sol";
import {Ending} from "./Ledger.sol";

/// @title Those who open games and refute, whether there is anything wrong or not.
abstract contract Sybils is Honest {
    uint256 private constant MOST_BOUTS = 90;
    /// @dev Games that ask a node for more than it can show within the clock of one.
    uint256 private constant SIEGE = 48;

    /// @dev What forge was told about blocks it forgets between calls of an invariant's sequence.
    modifier deed() {
        for (uint256 i; i < asks.length; ++i) {
            if (!asks[i].closed && asks[i].madeIn + 2 < vm.getBlockNumber()) _note(asks[i].madeIn + 2);
        }
        _;
    }

    function _plus(uint256 a, uint256 b) internal pure returns (uint256) {
        unchecked {
            return a + b;
        }
    }

    /// @dev Changes one word a little, or entirely.
    function _mutate(bytes memory data, uint256 how) internal pure {
        if (data.length < 36) return;
        uint256 spot = 4 + how % ((data.length - 4) / 32) * 32;
        assembly ("memory-safe") {
            let place := add(add(data, 0x20), spot)
            let word := mload(place)
            switch mod(shr(16, how), 3)
            case 0 { word := add(word, 1) }
            case 1 { word := sub(word, 1) }
            default { word := xor(word, shl(mod(shr(20, how), 256), 1)) }
            mstore(place, word)
        }
    }

    function _some(uint256 who) internal view returns (address) {
        return who % 4 == 3 ? liar : sybils[who % 4];
    }

    /// @dev An answer that still can be killed, from the newest on.
    function _standing(uint256 i) internal view returns (bool, uint256) {
        uint256 count = claims.length;
        for (uint256 n; n < count && n < 6; ++n) {
            uint256 k = count - 1 - _plus(i, n) % count;
            if (_stands(k)) return (true, k);
        }
        return (false, 0);
    }

    /// @param many games at once, on one position or on all.
    function challenge(uint256 i, uint256 who, uint256 position, uint256 many) public deed {
        (bool found, uint256 k) = _standing(i);
        if (!found) return;
        Claim storage c = claims[k];
        Ask storage a = asks[c.ask];
        uint256 games = many % 3 == 0 ? 2 + many / 3 % 30 : 1;
        for (uint256 n; n < games && openBouts.length < MOST_BOUTS; ++n) {
            uint256 positions =
                c.promptCount + _plus(position, many % 2 == 0 ? n : 0) % (c.count + (games == 1 ? 1 : 0));
            bytes memory data = position / 8 % 6 == 0
                ? abi.encodeCall(IDisputeGame.challengeUnread, (a.request, c.answer))
                : abi.encodeCall(IDisputeGame.challenge, (a.request, c.answer, _tokens(c), positions));
            _call(_some(_plus(who, n)), address(game), _ceilingWei() + position % 2, data);
        }
    }

    /// @dev Puppets fill the newest answer with games before anybody else can challenge it.
    function _crowd(uint256 how) internal {
        challenge(0, how, how >> 8, 3 * (15 + (how >> 16) % 15));
    }

    /// @dev All games of one answer move at once, to as many children; a coalition's node shows what they ask for.
    function press(uint256 i, uint256 how) public deed {
        if (openBouts.length == 0) return;
        uint256 claim = bouts[openBouts[i % openBouts.length]].claim;
        uint256[] memory all = openBouts;
        for (uint256 k; k < all.length; ++k) {
            if (bouts[all[k]].claim == claim) _move(all[k], how % 4 == 0 ? how : _plus(how, k), !claims[claim].honest);
        }
    }

    /// @dev Whoever of the coalition is to move does, or somebody pretends to be.
    function play(uint256 k, uint256 how) public deed {
        if (openBouts.length > 0) _move(openBouts[k % openBouts.length], how, true);
    }

    function _move(uint256 b, uint256 how, bool shows) private {
        Claim storage c = claims[bouts[b].claim];
        if (c.dead) {
            _call(sybils[0], address(game), 0, abi.encodeCall(IDisputeGame.settle, (bouts[b].id)));
            return;
        }
        IDisputeGame.Game memory g = game.gameOf(bouts[b].id);
        if (g.turn.stage == IDisputeGame.Stage.Over) return;
        if (!g.turn.nodeToMove) {
            if (bouts[b].challenger != challenger) _pick(b, g, how);
            return;
        }
        if (!shows || (c.honest && how % 4 != 0)) return;
        bytes memory data = _opening(b, g);
        if (how % 9 == 0) _mutate(data, how / 9);
        _call(c.honest ? sybils[1] : c.operator, address(game), 0, data);
    }

    function _pick(uint256 b, IDisputeGame.Game memory g, uint256 how) private {
        Claim storage c = claims[bouts[b].claim];
        (address to, bytes memory data) = _picked(b, g, how, c);
        if (how % 13 == 0) _mutate(data, how / 13);
        _call(bouts[b].challenger, to, 0, data);
    }

    /// @dev Towards one of the places where somebody could lie, or anywhere.
    function _picked(uint256 b, IDisputeGame.Game memory g, uint256 how, Claim storage c)
        private
        view
        returns (address to, bytes memory data)
    {
        to = address(game);
        Ask storage a = asks[c.ask];
        IDisputeGame.Stage stage = g.turn.stage;
        bytes32[] memory opened = shownNodes[Paths.place(g.caseId, g.turn)];
        if (stage == IDisputeGame.Stage.Tokens && how % 5 != 0) return (to, _picking(b, opened, how % opened.length));
        if (g.turn.positions == 0) {
            uint256 positions = c.promptCount + how % c.count;
            return
                (
                    to,
                    abi.encodeCall(IDisputeGame.pickPosition, (bouts[b].id, a.request, c.answer, _tokens(c), positions))
                );
        }
        uint256 p = _passOf(c, g.turn);
        Lie memory l = _lie(a.question, p, how % _lieCount(a.question, p));
        if (stage == IDisputeGame.Stage.Values) return (address(referee), _bluff(b, g, l, how));
        if (stage == IDisputeGame.Stage.Operators && g.turn.step + 1 == steps && how % 4 != 3) {
            return (address(tokenReferee), _choosing(b, g, _better(a, how / 2)));
        }
        uint256 child = how / 8;
        if (stage == IDisputeGame.Stage.Steps) child = how % 2 == 0 ? steps - 1 : l.step;
        else if (stage == IDisputeGame.Stage.Operators && l.step == g.turn.step && how % 4 < 2) child = l.operator;
        else if (stage == IDisputeGame.Stage.Nodes && l.operator == g.turn.operator && how % 4 < 3) child = l.leaf;
        return (to, _picking(b, opened, child % opened.length));
    }

    /// @dev What a lie at this place would be shown wrong with; nothing fits elsewhere.
    function _bluff(uint256 b, IDisputeGame.Game memory g, Lie memory l, uint256 how)
        private
        view
        returns (bytes memory)
    {
        Claim storage c = claims[bouts[b].claim];
        bool here = l.step == g.turn.step && l.operator == g.turn.operator && l.leaf == g.turn.index;
        IReferee.Input[] memory inputs = here ? _inputs(c, g, l.reads) : new IReferee.Input[](0);
        uint256 element = how % 7 == 0 ? l.element + 1 : how % 7 == 1 ? how % 600 : l.element;
        return _proofCall(b, shownValues[Paths.place(g.caseId, g.turn)], element, inputs);
    }

    /// @dev A token, or an index around the border of the vocabulary or of its last leaf; of the draws the luckiest.
    function _better(Ask storage a, uint256 how) private view returns (uint256 better) {
        uint256 vocabulary = _vocabulary();
        if (how % 8 == 0) return (how / 4) % vocabulary;
        if (how % 8 == 1) return [vocabulary - 1, vocabulary, 511, 512, 1 << 40][how / 4 % 5];
        if (a.temperature == 0) return vocabulary + how / 4 % (512 - vocabulary);
        int256 most = type(int256).min;
        for (uint256 index = vocabulary; index < 512; ++index) {
            int256 worth = _worth(a, 0, index);
            if (worth > most) (most, better) = (worth, index);
        }
    }

    function stop(uint256 k) public deed {
        if (openBouts.length > 0) _stop(sybils[2], openBouts[k % openBouts.length]);
    }

    function refute(uint256 i, uint256 fault, uint256 index, uint256 how) public deed {
        (bool found, uint256 k) = _standing(i);
        if (!found) return;
        Claim storage c = claims[k];
        uint256 spot = index % (c.promptCount + c.count + 3);
        bytes memory data = _refuting(c, ITokenReferee.Fault(fault % 4), spot);
        if (how % 7 == 0) _mutate(data, how / 7);
        address by = _some(how);
        if (how % 2 == 0) {
            bytes32 hash = keccak256(abi.encodePacked(by, data));
            _call(by, address(refutations), 0, abi.encodeCall(IRefutations.post, (hash)));
        }
        _call(by, address(refutations), 0, data);
    }

    function collect(uint256 how) public deed {
        for (uint256 i; i < claims.length; ++i) {
            _call(_some(how), address(refutations), 0, abi.encodeCall(IRefutations.pay, (claims[i].caseId)));
        }
    }

    /// @dev As many games about one right answer as its node cannot serve within the clock of one, each on a way of its own.
    /// No time is lost: what the node shows is answered in the same block.
    function besiege(uint256 how) public deed {
        (bool found, uint256 k) = _rightInTime();
        if (!found || how % 4 != 0 || openBouts.length + SIEGE > MOST_BOUTS) return;
        Claim storage c = claims[k];
        for (uint256 n; n < SIEGE; ++n) {
            bytes memory data = abi.encodeCall(
                IDisputeGame.challenge, (asks[c.ask].request, c.answer, _tokens(c), c.promptCount + n % c.count)
            );
            _call(_some(n), address(game), _ceilingWei(), data);
        }
        _count(Ending.Besieged);
        while (this.spread(k)) {
            this.tick();
        }
    }

    /// @dev A right answer that can still be challenged, the newest.
    function _rightInTime() private view returns (bool, uint256) {
        for (uint256 k = claims.length; k > 0; --k) {
            if (vm.getBlockTimestamp() > _closesAt(claims[k - 1])) return (false, 0);
            if (claims[k - 1].honest && _stands(k - 1)) return (true, k - 1);
        }
        return (false, 0);
    }

    /// @dev A pick in every game about an answer, no two alike where there is a choice, and an end to what is late. Returns
    /// whether the node has anything to show.
    function spread(uint256 k) external returns (bool due) {
        uint256[] memory all = openBouts;
        Claim storage c = claims[k];
        for (uint256 n; n < all.length && !c.dead; ++n) {
            if (bouts[all[n]].claim != k || bouts[all[n]].challenger == challenger) continue;
            IDisputeGame.Game memory g = game.gameOf(bouts[all[n]].id);
            if (g.turn.nodeToMove) {
                due = true;
                if (vm.getBlockTimestamp() > g.turn.deadline) _stop(sybils[0], all[n]);
            } else if (g.turn.positions != 0 && g.turn.stage != IDisputeGame.Stage.Values) {
                bytes32[] memory opened = shownNodes[Paths.place(g.caseId, g.turn)];
                uint256 child = n / c.count;
                if (g.turn.stage != IDisputeGame.Stage.Steps) child /= steps;
                bytes memory data = _picking(all[n], opened, child % opened.length);
                due = _call(bouts[all[n]].challenger, address(game), 0, data) || due;
            }
        }
        due = due && !c.dead;
    }

    /// @dev A block, in a call of its own, for its memory's sake.
    function tick() external {
        _block();
    }
}
