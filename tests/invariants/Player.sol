// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IDisputeGame} from "../../contracts/interfaces/IDisputeGame.sol";
import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {IRefutations} from "../../contracts/interfaces/IRefutations.sol";
import {ITokenReferee} from "../../contracts/interfaces/ITokenReferee.sol";
import {IModelRegistry} from "../../contracts/interfaces/IModelRegistry.sol";
import {Paths} from "../../contracts/disputes/Paths.sol";
import {Lie, Read, Tensor} from "./Book.sol";
import {Ledger} from "./Ledger.sol";

/// @title What a party to a game shows, picks and proves. Nothing here is sent.
abstract contract Player is Ledger {
    /* THE NODE'S */

    /// @dev What the node opens where a game stands; reverts where it has nothing that fits.
    function _opening(uint256 b, IDisputeGame.Game memory g) internal view returns (bytes memory) {
        Claim storage c = claims[bouts[b].claim];
        Ask storage a = asks[c.ask];
        if (g.turn.stage == IDisputeGame.Stage.Tokens) {
            bytes32[] memory top = new bytes32[](1);
            top[0] = c.root;
            return abi.encodeCall(IDisputeGame.openTokens, (bouts[b].id, a.request, c.answer, c.promptCount, top));
        }
        if (g.turn.positions == 0) {
            bytes memory part = new bytes(32 << g.turn.level);
            bytes memory entries = c.entries;
            for (uint256 i; i < entries.length && i < part.length; ++i) {
                part[i] = entries[i];
            }
            return abi.encodeCall(IDisputeGame.openValues, (bouts[b].id, part));
        }
        if (g.turn.stage == IDisputeGame.Stage.Values) {
            return abi.encodeCall(IDisputeGame.openValues, (bouts[b].id, _told(c, g.turn)));
        }
        return abi.encodeCall(IDisputeGame.open, (bouts[b].id, _listed(c, g)));
    }

    /// @dev Which pass of the question a game is about.
    function _passOf(Claim storage c, IDisputeGame.Turn memory turn) internal view returns (uint256 p) {
        uint256 asked = questions[asks[c.ask].question].reading.length;
        if (turn.positions < asked) return 0;
        p = turn.positions - asked;
        uint256 most = _passes(asks[c.ask].question) - 1;
        if (p > most) p = most;
    }

    function _lieOf(Claim storage c, uint256 p) internal view returns (bool lies, Lie memory l) {
        if (c.lie == 0) return (false, l);
        uint256 q = asks[c.ask].question;
        return (true, _lie(q, p, (c.lie - 1) % _lieCount(q, p)));
    }

    function _falseRoot(uint256 q, uint256 p, Lie memory l) private view returns (bytes32) {
        return _root(_falseLeaves(q, p, l));
    }

    function _falseLeaves(uint256 q, uint256 p, Lie memory l) private view returns (bytes32[] memory nodes) {
        nodes = _leaves(_step(q, p, l.step)[l.operator]);
        nodes[l.leaf] = _hash(l.values);
    }

    /// @dev The roots of the first list, as this answer's node tells them: behind a lie all are made up.
    function _stepList(Claim storage c, uint256 p) internal view returns (bytes32[] memory list) {
        uint256 q = asks[c.ask].question;
        bytes32[][] memory roots = _rootsOf(q, p);
        (bool lies, Lie memory l) = _lieOf(c, p);
        list = new bytes32[](steps);
        for (uint256 s; s < steps; ++s) {
            list[s] = roots[s][roots[s].length - 1];
            if (!lies || s < l.step) continue;
            bool last = s == l.step && l.operator + 1 == roots[s].length;
            list[s] = last ? _falseRoot(q, p, l) : keccak256(abi.encode(list[s]));
        }
    }

    function _operatorList(Claim storage c, uint256 p, uint256 s, bytes32 last)
        internal
        view
        returns (bytes32[] memory list)
    {
        uint256 q = asks[c.ask].question;
        (bool lies, Lie memory l) = _lieOf(c, p);
        list = _rootsOf(q, p)[s];
        for (uint256 i; lies && i < list.length; ++i) {
            if (s == l.step && i == l.operator) list[i] = _falseRoot(q, p, l);
            else if (s > l.step || (s == l.step && i > l.operator)) list[i] = keccak256(abi.encode(list[i]));
        }
        // A false answer's node shows what fits what it showed before.
        if (!c.honest) list[list.length - 1] = last;
    }

    function _listed(Claim storage c, IDisputeGame.Game memory g) internal view returns (bytes32[] memory) {
        uint256 p = _passOf(c, g.turn);
        if (g.turn.stage == IDisputeGame.Stage.Steps) return _stepList(c, p);
        if (g.turn.stage == IDisputeGame.Stage.Operators) return _operatorList(c, p, g.turn.step, g.disputed);
        (bool lies, Lie memory l) = _lieOf(c, p);
        uint256 q = asks[c.ask].question;
        if (lies && l.step == g.turn.step && l.operator == g.turn.operator) return _falseLeaves(q, p, l);
        return _leaves(_step(q, p, g.turn.step)[g.turn.operator]);
    }

    function _told(Claim storage c, IDisputeGame.Turn memory turn) internal view returns (bytes memory) {
        uint256 p = _passOf(c, turn);
        (bool lies, Lie memory l) = _lieOf(c, p);
        if (lies && l.step == turn.step && l.operator == turn.operator && l.leaf == turn.index) return l.values;
        return _leaf(_step(asks[c.ask].question, p, turn.step)[turn.operator], uint256(turn.index));
    }

    /* THE CHALLENGER'S */

    function _picking(uint256 b, bytes32[] memory opened, uint256 child) internal view returns (bytes memory) {
        return abi.encodeCall(IDisputeGame.pick, (bouts[b].id, child, opened[child], _proof(opened, child)));
    }

    /// @dev What differs first; the list's length if nothing does.
    function _difference(bytes32[] memory own, bytes32[] memory opened) internal pure returns (uint256 i) {
        while (i < own.length && own[i] == opened[i]) ++i;
    }

    /// @dev The honest challenger's move against a wrong answer, to which contract; nothing if it knows none.
    function _attack(uint256 b, IDisputeGame.Game memory g) internal view returns (address to, bytes memory call) {
        Claim storage c = claims[bouts[b].claim];
        IDisputeGame.Stage stage = g.turn.stage;
        bytes32 here = Paths.place(g.caseId, g.turn);
        bytes32[] memory opened = shownNodes[here];
        to = address(game);
        if (stage == IDisputeGame.Stage.Tokens) return (to, _picking(b, opened, 0));
        if (g.turn.positions == 0) {
            (bool faulty, bytes memory refuting) = _fault(c);
            if (faulty) return (address(refutations), refuting);
            Ask storage a = asks[c.ask];
            return (
                to,
                abi.encodeCall(
                    IDisputeGame.pickPosition, (bouts[b].id, a.request, c.answer, _tokens(c), _firstWrong(c))
                )
            );
        }
        uint256 p = _passOf(c, g.turn);
        uint256 q = asks[c.ask].question;
        if (stage == IDisputeGame.Stage.Values) return (address(referee), _proving(b, g));
        bytes32[] memory own;
        if (stage == IDisputeGame.Stage.Steps) {
            bytes32[][] memory roots = _rootsOf(q, p);
            own = new bytes32[](steps);
            for (uint256 s; s < steps; ++s) {
                own[s] = roots[s][roots[s].length - 1];
            }
        } else if (stage == IDisputeGame.Stage.Operators) {
            own = _rootsOf(q, p)[g.turn.step];
        } else {
            own = _leaves(_step(q, p, g.turn.step)[g.turn.operator]);
        }
        uint256 child = _difference(own, opened);
        if (child < own.length) return (to, _picking(b, opened, child));
        if (stage == IDisputeGame.Stage.Steps) return (to, _picking(b, opened, child - 1));
        if (stage != IDisputeGame.Stage.Operators || g.turn.step + 1 != steps) return (to, "");
        return (address(tokenReferee), _choosing(b, g, _right(asks[c.ask])[p]));
    }

    /// @dev Shows that the leaf opened is the lie that its node planned.
    function _proving(uint256 b, IDisputeGame.Game memory g) internal view returns (bytes memory) {
        Claim storage c = claims[bouts[b].claim];
        (bool lies, Lie memory l) = _lieOf(c, _passOf(c, g.turn));
        bool here = lies && l.step == g.turn.step && l.operator == g.turn.operator && l.leaf == g.turn.index;
        IReferee.Input[] memory inputs = here ? _inputs(c, g, l.reads) : new IReferee.Input[](0);
        return _proofCall(b, shownValues[Paths.place(g.caseId, g.turn)], l.element, inputs);
    }

    function _proofCall(uint256 b, bytes memory values, uint256 element, IReferee.Input[] memory inputs)
        internal
        view
        returns (bytes memory)
    {
        Claim storage c = claims[bouts[b].claim];
        return abi.encodeCall(
            IReferee.prove, (game, bouts[b].id, asks[c.ask].request, c.answer, _tokens(c), values, element, inputs)
        );
    }

    function _inputs(Claim storage c, IDisputeGame.Game memory g, Read[] memory reads)
        internal
        view
        returns (IReferee.Input[] memory inputs)
    {
        bytes32[] memory first = shownNodes[Paths.listAbove(g.caseId, g.turn, IDisputeGame.Stage.Steps)];
        bytes32[] memory second = shownNodes[Paths.listAbove(g.caseId, g.turn, IDisputeGame.Stage.Operators)];
        inputs = new IReferee.Input[](reads.length);
        for (uint256 i; i < reads.length; ++i) {
            Read memory r = reads[i];
            if (r.list == ENTRY) {
                inputs[i] = _entryInput(c.entries, r.index);
                continue;
            }
            inputs[i] = IReferee.Input(r.data, r.root, new bytes32[](0), r.proof);
            if (r.list == STEPS_LIST) inputs[i].listProof = _proof(first, r.index);
            if (r.list == OPERATORS_LIST) inputs[i].listProof = _proof(second, r.index);
        }
    }

    function _number(Tensor memory t, bytes32[] memory list, uint256 operator, uint256 column)
        internal
        pure
        returns (IReferee.Input memory)
    {
        return IReferee.Input(_leaf(t, column / 256), t.root, _proof(list, operator), _proof(_leaves(t), column / 256));
    }

    /// @dev Shows that the logits opened choose `better`, or pretends to.
    function _choosing(uint256 b, IDisputeGame.Game memory g, uint256 better) internal view returns (bytes memory) {
        Claim storage c = claims[bouts[b].claim];
        Ask storage a = asks[c.ask];
        bytes32[] memory list = shownNodes[Paths.place(g.caseId, g.turn)];
        Tensor[] memory end = _step(a.question, _passOf(c, g.turn), steps - 1);
        (uint256 chosen,) = _idAt(c.entries, g.turn.positions);
        if (chosen >= _vocabulary()) chosen = 0;
        uint256 count = a.temperature == 0 ? 3 : a.cutoff == 0 ? 4 : 5;
        IReferee.Input[] memory inputs = new IReferee.Input[](count);
        inputs[0] = _entryInput(c.entries, g.turn.positions);
        inputs[1] = _number(end[logitsAt], list, logitsAt, chosen);
        inputs[2] = _number(end[logitsAt], list, logitsAt, better < 512 ? better : 511);
        if (count > 3) inputs[3] = IReferee.Input(_header(a.madeIn + 2), 0, new bytes32[](0), new bytes32[](0));
        if (count > 4) inputs[4] = _number(end[largestAt], list, largestAt, 0);
        return abi.encodeCall(
            ITokenReferee.proveChoice,
            (game, bouts[b].id, a.request, c.answer, _tokens(c), questions[a.question].prompt, better, inputs)
        );
    }

    /// @dev How many tokens stand before the first wrong one.
    function _firstWrong(Claim storage c) internal view returns (uint256) {
        uint32[] memory ids = _right(asks[c.ask]);
        for (uint256 i; i < ids.length && i < c.count; ++i) {
            (uint256 id,) = _idAt(c.entries, c.promptCount + i);
            if (id != ids[i]) return c.promptCount + i;
        }
        return c.promptCount;
    }

    /* TOKENS AT FAULT */

    /// @dev The first fault of an answer's tokens, as a refutation.
    function _fault(Claim storage c) internal view returns (bool, bytes memory) {
        Ask storage a = asks[c.ask];
        uint32[] storage reading = questions[a.question].reading;
        bytes memory entries = c.entries;
        if (c.promptCount != reading.length) return (true, _refuting(c, ITokenReferee.Fault.Prompt, 0));
        for (uint256 i; i < reading.length; ++i) {
            (uint256 id, uint256 end) = _idAt(entries, i);
            if (id != reading[i] || end != 0) return (true, _refuting(c, ITokenReferee.Fault.Prompt, i));
        }
        uint256 last = c.promptCount + c.count - 1;
        for (uint256 i = c.promptCount; i < last; ++i) {
            (uint256 id,) = _idAt(entries, i);
            if (_isStop(id)) return (true, _refuting(c, ITokenReferee.Fault.End, i));
        }
        (uint256 final_, uint256 whole) = _idAt(entries, last);
        uint256 room = registry.frameOf(model).contextLength - c.promptCount;
        bool early = !_isStop(final_) && c.count < a.maxTokens && c.count < room;
        if (early || whole != c.output.length) return (true, _refuting(c, ITokenReferee.Fault.End, last));
        uint256 start;
        for (uint256 i = c.promptCount; i <= last; ++i) {
            (uint256 id, uint256 end) = _idAt(entries, i);
            if (id >= _vocabulary() || start > end || !_spells(c.output, start, end, id)) {
                return (true, _refuting(c, ITokenReferee.Fault.Text, i));
            }
            start = end;
        }
        for (uint256 i = last + 1; i < entries.length / 8; ++i) {
            (uint256 id, uint256 end) = _idAt(entries, i);
            if (id != 0 || end != 0) return (true, _refuting(c, ITokenReferee.Fault.Padding, i));
        }
        return (false, "");
    }

    function _spells(bytes memory output, uint256 start, uint256 end, uint256 token) private view returns (bool) {
        bytes memory piece = _spelling(token);
        if (end > output.length || end - start != piece.length) return false;
        for (uint256 i; i < piece.length; ++i) {
            if (output[start + i] != piece[i]) return false;
        }
        return true;
    }

    /// @dev A call of `refute` that shows all that the contract may want to see.
    function _refuting(Claim storage c, ITokenReferee.Fault fault, uint256 index) internal view returns (bytes memory) {
        uint256 known = c.entries.length / 8;
        uint256 spot = index < known ? index : known - 1;
        IReferee.Input[] memory inputs = new IReferee.Input[](fault == ITokenReferee.Fault.Text ? 3 : 1);
        inputs[0] = _entryInput(c.entries, spot);
        if (inputs.length == 3) {
            inputs[1] = _entryInput(c.entries, spot == 0 ? 0 : spot - 1);
            (uint256 id,) = _idAt(c.entries, spot);
            if (id >= _vocabulary()) id = 0;
            inputs[2] = IReferee.Input(vocabularyEntries[id], 0, new bytes32[](0), _spellingProof(id));
        }
        Ask storage a = asks[c.ask];
        bytes memory prompt = questions[a.question].prompt;
        return
            abi.encodeCall(
                IRefutations.refute, (a.request, c.answer, _tokens(c), fault, index, prompt, c.output, inputs)
            );
    }
}
