// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {DisputeGame} from "../../contracts/disputes/DisputeGame.sol";
import {Refutations} from "../../contracts/disputes/Refutations.sol";
import {IDisputeGame} from "../../contracts/interfaces/IDisputeGame.sol";
import {ILens} from "../../contracts/interfaces/ILens.sol";
import {IOracle} from "../../contracts/interfaces/IOracle.sol";
import {IReferee} from "../../contracts/interfaces/IReferee.sol";
import {IServices} from "../../contracts/interfaces/IServices.sol";
import {ITokenReferee} from "../../contracts/interfaces/ITokenReferee.sol";
import {MerkleTree} from "../../contracts/libraries/MerkleTree.sol";
import {FixedReferee} from "./FixedReferee.sol";
import {World} from "./World.sol";

/// @title Everybody in a service that the dispute game judges, doing things in any order.
/// @notice Honest nodes answer rightly and move in time. The liar lies about one leaf, or about its tokens, and moves when
/// the fuzzer likes. Challengers pick whatever they like; some of them are puppets.
contract Players is World {
    struct Ask {
        IOracle.Request request;
        IOracle.Answer answer;
        bytes output;
        bytes32 tokensRoot;
        bool honest;
        uint256 kills;
    }

    uint256 private constant PROMPT = 2;
    uint256 private constant COUNT = 3;
    uint256 private constant LIE_STEP = 1;
    uint256 private constant LIE_LEAF = 2;

    FixedReferee private referee;
    DisputeGame private game;
    IDisputeGame.GameTerms private gameTerms;
    address private payer = makeAddr("payer");
    address[] private challengers;

    Ask[] private _asks;
    IDisputeGame.GameId[] private _games;
    mapping(IDisputeGame.GameId => uint256 ask) private _askOf;
    mapping(IDisputeGame.GameId => uint256 timestamp) private _startedAt;
    mapping(uint256 ask => IDisputeGame.CaseId[]) private _cases;

    uint256 public won;
    uint256 public lost;
    uint256 public settled;

    constructor() {
        _deploy();
        referee = new FixedReferee();
        game = new DisputeGame(oracle, referee, referee);
        gameTerms = IDisputeGame.GameTerms({
            challengeBondWei: 0.1 ether,
            openingWei: 0.009 ether,
            clockSeconds: 3600,
            moveSeconds: 300,
            firstMoveSeconds: 600,
            queueSeconds: 126,
            ceilingPercent: 200
        });
        terms.arbiter = game;
        terms.arbiterTerms = abi.encode(gameTerms);
        service = oracle.createService(terms);
        for (uint256 i; i < SEATS; ++i) {
            _join(owners[i]);
        }
        skip(terms.lifetimeSeconds);
        for (uint16 i; i < SEATS; ++i) {
            oracle.activate(service, i);
        }
        for (uint256 i; i < 3; ++i) {
            challengers.push(makeAddr(string.concat("challenger ", vm.toString(i))));
        }
        challengers.push(owners[SEATS - 1]); // the liar challenges as well
    }

    /* REQUESTS */

    function ask() public {
        IOracle.Params memory params = _params(8, 0);
        (uint256 feeWei,,) = oracle.quote(service, 1, params);
        vm.deal(payer, payer.balance + feeWei);
        vm.recordLogs();
        vm.prank(payer);
        oracle.request{value: feeWei}(service, "?", params);
        (IOracle.Request memory request,) =
            abi.decode(_event(vm.getRecordedLogs(), IOracle.RequestPosted.selector), (IOracle.Request, bytes));
        IOracle.Answer memory none;
        _asks.push(Ask(request, none, "", 0, false, 0));
        vm.roll(vm.getBlockNumber() + 3);
    }

    function answer(uint256 i, bool lie, bool malformed) public {
        Ask storage a = _some(i);
        if (_status(a) != IOracle.Status.Open) return;
        (, uint16 seat, address operator) = lens.turnOf(a.request);
        ILens.RequestFields memory fields = lens.unpackRequest(a.request);
        if (operator == address(0) || vm.getBlockTimestamp() > fields.params.deadline) return;
        if (oracle.seatOf(service, seat).balanceWei < terms.bondWei) return;
        a.honest = seat < HONEST_OWNERS || !lie;
        a.tokensRoot = bytes32(uint256(a.honest || !malformed ? 2 : 3));
        a.output = a.honest ? bytes("truth") : bytes("lie");
        bytes32 committed = keccak256(abi.encode(_tokens(a)));
        vm.recordLogs();
        vm.prank(operator);
        oracle.answer(a.request, a.output, uint24(COUNT), committed, blockhash(fields.blockNumber + 2));
        (a.answer,) = abi.decode(_event(vm.getRecordedLogs(), IOracle.AnswerPosted.selector), (IOracle.Answer, bytes));
        a.kills = 0;
        _cases[_indexOf(i)].push(game.caseIdOf(a.request, a.answer));
    }

    function finalize(uint256 i) external {
        Ask storage a = _some(i);
        if (_status(a) != IOracle.Status.Answered) return;
        if (vm.getBlockTimestamp() <= lens.unpackAnswer(a.answer).closesAt) return;
        IOracle.Item[] memory items = new IOracle.Item[](1);
        items[0] = IOracle.Item(a.request, a.answer, a.output);
        oracle.finalize(items);
    }

    /* GAMES */

    function challenge(uint256 i, uint256 who, uint256 position, bool unread) public {
        Ask storage a = _some(i);
        IOracle.Status status = _status(a);
        if (status != IOracle.Status.Answered && status != IOracle.Status.Disputed) return;
        if (vm.getBlockTimestamp() > lens.unpackAnswer(a.answer).closesAt) return;
        address challenger = challengers[who % challengers.length];
        uint256 priceWei = uint256(gameTerms.challengeBondWei) * gameTerms.ceilingPercent / 100;
        vm.deal(challenger, challenger.balance + priceWei);
        vm.prank(challenger);
        IDisputeGame.GameId id = unread
            ? game.challengeUnread{value: priceWei}(a.request, a.answer)
            : game.challenge{value: priceWei}(a.request, a.answer, _tokens(a), PROMPT + position % COUNT);
        _games.push(id);
        _askOf[id] = _indexOf(i);
        _startedAt[id] = vm.getBlockTimestamp();
    }

    /// @dev Whoever's turn it is makes a move that the rules allow; `choice` says which.
    function move(uint256 g, uint256 choice) public {
        if (_games.length == 0) return;
        IDisputeGame.GameId id = _games[g % _games.length];
        IDisputeGame.Game memory s = game.gameOf(id);
        if (!_plays(s) || vm.getBlockTimestamp() > s.turn.deadline) return;
        if (s.turn.nodeToMove) _show(id, s);
        else _doubt(id, s, choice);
    }

    /// @dev A clock runs out. What runs out is never an honest node's.
    function stop(uint256 g) public {
        if (_games.length == 0) return;
        _defend();
        IDisputeGame.GameId id = _games[g % _games.length];
        IDisputeGame.Game memory s = game.gameOf(id);
        if (!_plays(s)) return;
        if (vm.getBlockTimestamp() <= s.turn.deadline) vm.warp(uint256(s.turn.deadline) + 1);
        Ask storage a = _asks[_askOf[id]];
        bool nodes = s.turn.nodeToMove;
        game.timeout(id, a.request, a.answer);
        if (nodes) _killed(a);
        else ++lost;
    }

    /// @param posted whether a hash was posted first, and so long ago that the reward is paid at once.
    function refute(uint256 i, uint256 who, bool posted) external {
        Ask storage a = _some(i);
        IOracle.Status status = _status(a);
        if (status != IOracle.Status.Answered && status != IOracle.Status.Disputed) return;
        if (status == IOracle.Status.Answered && vm.getBlockTimestamp() > lens.unpackAnswer(a.answer).closesAt) {
            return;
        }
        if (uint256(a.tokensRoot) % 2 == 0) return;
        Refutations refutations = game.refutations();
        address refuter = challengers[who % challengers.length];
        bytes memory call = abi.encodeCall(
            Refutations.refute,
            (a.request, a.answer, _tokens(a), ITokenReferee.Fault.Text, 0, "", new IReferee.Input[](0))
        );
        if (posted) {
            refutations.post(keccak256(abi.encodePacked(refuter, call)));
            vm.roll(vm.getBlockNumber() + refutations.WAIT_BLOCKS());
        }
        uint256 before = oracle.credit(refuter);
        vm.prank(refuter);
        (bool done,) = address(refutations).call(call);
        assertTrue(done);
        assertEq(oracle.credit(refuter) - before, posted ? terms.bondWei * 30 / 100 : 0);
        _killed(a);
    }

    /// @dev What a refutation without a hash earned, once it has waited.
    function pay(uint256 i) external {
        if (_asks.length == 0) return;
        IDisputeGame.CaseId[] storage cases = _cases[_indexOf(i)];
        Refutations refutations = game.refutations();
        for (uint256 k; k < cases.length; ++k) {
            if (refutations.rewardOf(cases[k]).amountWei == 0) continue;
            vm.roll(refutations.rewardOf(cases[k]).waitsUntil + 1);
            refutations.pay(cases[k]);
        }
    }

    function settle(uint256 g) public {
        if (_games.length == 0) return;
        IDisputeGame.GameId id = _games[g % _games.length];
        IDisputeGame.Game memory s = game.gameOf(id);
        if (s.turn.stage == IDisputeGame.Stage.Over || !game.caseOf(s.caseId).dead) return;
        game.settle(id);
        ++settled;
    }

    function pass(uint256 duration) external {
        _defend();
        vm.warp(vm.getBlockTimestamp() + bound(duration, 1, gameTerms.moveSeconds));
        vm.roll(vm.getBlockNumber() + 1);
    }

    /// @dev Everybody goes home: clocks run out, overtaken games are settled.
    function windDown() external {
        for (uint256 i; i < _games.length; ++i) {
            stop(i);
        }
        for (uint256 i; i < _games.length; ++i) {
            settle(i);
        }
    }

    /* WHAT INVARIANTS ASK */

    /// @notice What the game holds, and what it owes: bonds of games that are not over, and shares still to be had.
    function gameWei() external view returns (uint256 heldWei, uint256 owedWei) {
        for (uint256 i; i < _games.length; ++i) {
            IDisputeGame.Game memory s = game.gameOf(_games[i]);
            if (s.turn.stage != IDisputeGame.Stage.Over) owedWei += s.bondWei;
        }
        for (uint256 i; i < _asks.length; ++i) {
            for (uint256 k; k < _cases[i].length; ++k) {
                IDisputeGame.Case memory c = game.caseOf(_cases[i][k]);
                owedWei += uint256(c.shares) * c.shareWei;
            }
        }
        heldWei = address(game).balance;
    }

    /// @notice Answers that were killed twice, or honest ones killed at all.
    function wronglyKilled() external view returns (uint256 count) {
        for (uint256 i; i < _asks.length; ++i) {
            if (_asks[i].kills > 1 || (_asks[i].honest && _asks[i].kills != 0)) ++count;
        }
    }

    /// @notice Games in which nobody can move and no clock runs, or one that runs for longer than the game may last, or that
    /// do not hold their answer in dispute.
    function stuck() external view returns (uint256 count) {
        uint256 longest = 2 * uint256(gameTerms.clockSeconds) + gameTerms.firstMoveSeconds + 2 * game.OPENINGS()
            * gameTerms.moveSeconds + _games.length * (gameTerms.queueSeconds + gameTerms.firstMoveSeconds);
        for (uint256 i; i < _games.length; ++i) {
            IDisputeGame.Game memory s = game.gameOf(_games[i]);
            if (!_plays(s)) continue;
            bool held = _status(_asks[_askOf[_games[i]]]) == IOracle.Status.Disputed && game.caseOf(s.caseId).open != 0;
            bool runs = s.turn.deadline != 0 && s.turn.deadline <= _startedAt[_games[i]] + longest;
            if (!held || !runs) ++count;
        }
    }

    /// @notice Disputed answers without a game that could end it.
    function forgotten() external view returns (uint256 count) {
        for (uint256 i; i < _asks.length; ++i) {
            if (_status(_asks[i]) != IOracle.Status.Disputed) continue;
            if (game.caseOf(game.caseIdOf(_asks[i].request, _asks[i].answer)).open == 0) ++count;
        }
    }

    /* THE PASS */

    function _values(bool lie, uint256 step, uint256 operator, uint256 leaf) private pure returns (bytes memory) {
        bool wrong = lie && step == LIE_STEP && operator == 0 && leaf == LIE_LEAF;
        return abi.encodePacked(wrong ? bytes1(0xba) : bytes1(0x01));
    }

    function _leaves(bool lie, uint256 step, uint256 operator) private pure returns (bytes32[] memory nodes) {
        nodes = new bytes32[](4);
        for (uint256 i; i < 4; ++i) {
            nodes[i] = keccak256(abi.encodePacked(bytes1(0), _values(lie, step, operator, i)));
        }
    }

    function _roots(bool lie, uint256 step) private pure returns (bytes32[] memory nodes) {
        nodes = new bytes32[](2);
        (nodes[0], nodes[1]) = (MerkleTree.rootOf(_leaves(lie, step, 0)), MerkleTree.rootOf(_leaves(lie, step, 1)));
    }

    /// @dev What a node shows where a game stands.
    function _shown(bool lie, IDisputeGame.Game memory s) private pure returns (bytes32[] memory nodes) {
        if (s.turn.stage == IDisputeGame.Stage.Operators) return _roots(lie, s.turn.step);
        if (s.turn.stage == IDisputeGame.Stage.Nodes) return _leaves(lie, s.turn.step, s.turn.operator);
        nodes = new bytes32[](3);
        for (uint256 i; i < 3; ++i) {
            nodes[i] = _roots(lie, i)[1];
        }
    }

    function _show(IDisputeGame.GameId id, IDisputeGame.Game memory s) private {
        Ask storage a = _asks[_askOf[id]];
        address operator = oracle.operatorOf(service, game.caseOf(s.caseId).seat);
        vm.startPrank(operator);
        if (s.turn.stage == IDisputeGame.Stage.Tokens) {
            bytes32[] memory nodes = new bytes32[](1);
            nodes[0] = a.tokensRoot;
            game.openTokens(id, a.request, a.answer, PROMPT, nodes);
        } else if (s.turn.positions == 0) {
            game.openValues(id, bytes.concat(a.tokensRoot, bytes32(0)));
        } else if (s.turn.stage == IDisputeGame.Stage.Values) {
            game.openValues(id, _values(!a.honest, s.turn.step, s.turn.operator, s.turn.index));
        } else {
            game.open(id, _shown(!a.honest, s));
        }
        vm.stopPrank();
    }

    function _doubt(IDisputeGame.GameId id, IDisputeGame.Game memory s, uint256 choice) private {
        Ask storage a = _asks[_askOf[id]];
        if (s.turn.stage == IDisputeGame.Stage.Values && s.turn.positions != 0) {
            bytes memory values = _values(!a.honest, s.turn.step, s.turn.operator, s.turn.index);
            if (values[0] != bytes1(0xba)) return;
            referee.prove(game, id, a.request, a.answer, _tokens(a), values, 0, new IReferee.Input[](0));
            _killed(a);
            return;
        }
        vm.startPrank(s.challenger);
        if (s.turn.stage == IDisputeGame.Stage.Tokens && choice % 2 == 0) {
            game.pick(id, 0, a.tokensRoot, new bytes32[](0));
        } else if (s.turn.positions == 0) {
            game.pickPosition(id, a.request, a.answer, _tokens(a), PROMPT + choice % COUNT);
        } else {
            bytes32[] memory nodes = _shown(!a.honest, s);
            uint256[3] memory towards = [LIE_STEP, 0, LIE_LEAF];
            uint256 round = uint256(s.turn.stage) - uint256(IDisputeGame.Stage.Steps);
            uint256 child = choice % 4 == 0 ? choice % nodes.length : towards[round];
            game.pick(id, child, nodes[child], _proof(nodes, child));
        }
        vm.stopPrank();
    }

    function _proof(bytes32[] memory nodes, uint256 index) private pure returns (bytes32[] memory proof) {
        bytes32 none = MerkleTree.empty(0);
        bytes32 beside = (index ^ 1) < nodes.length ? nodes[index ^ 1] : none;
        proof = new bytes32[](nodes.length == 2 ? 1 : 2);
        proof[0] = beside;
        if (nodes.length == 2) return proof;
        uint256 other = index < 2 ? 2 : 0;
        bytes32 last = other + 1 < nodes.length ? nodes[other + 1] : none;
        proof[1] = MerkleTree.hashNode(nodes[other], last);
    }

    /* INSIDE */

    /// @dev Honest nodes answer every move before time goes on.
    function _defend() private {
        for (uint256 i; i < _games.length; ++i) {
            if (!_asks[_askOf[_games[i]]].honest) continue;
            IDisputeGame.Game memory s = game.gameOf(_games[i]);
            if (_plays(s) && s.turn.nodeToMove) _show(_games[i], s);
        }
    }

    function _killed(Ask storage a) private {
        ++a.kills;
        ++won;
    }

    function _plays(IDisputeGame.Game memory s) private view returns (bool) {
        return s.turn.stage != IDisputeGame.Stage.Over && !game.caseOf(s.caseId).dead;
    }

    function _tokens(Ask storage a) private view returns (IReferee.Tokens memory) {
        return IReferee.Tokens(PROMPT, a.tokensRoot);
    }

    function _status(Ask storage a) private view returns (IOracle.Status) {
        return oracle.statusOf(lens.idOf(a.request));
    }

    function _indexOf(uint256 i) private view returns (uint256) {
        return i % _asks.length;
    }

    function _some(uint256 i) private returns (Ask storage) {
        if (_asks.length == 0) ask();
        return _asks[_indexOf(i)];
    }
}
