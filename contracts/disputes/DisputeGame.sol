// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IAnswerReferee} from "../interfaces/IAnswerReferee.sol";
import {IArbiter} from "../interfaces/IArbiter.sol";
import {BURN} from "../interfaces/ICredits.sol";
import {IDisputeGame} from "../interfaces/IDisputeGame.sol";
import {ModelId, RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IReferee} from "../interfaces/IReferee.sol";
import {IServices} from "../interfaces/IServices.sol";
import {ITextReferee} from "../interfaces/ITextReferee.sol";
import {ITokenReferee} from "../interfaces/ITokenReferee.sol";
import {Delegated} from "../libraries/Delegated.sol";
import {MerkleTree} from "../libraries/MerkleTree.sol";
import {RequestLib} from "../libraries/RequestLib.sol";
import {Adoption} from "./Adoption.sol";
import {GameServices} from "./GameServices.sol";
import {Games} from "./Games.sol";
import {Paths} from "./Paths.sol";
import {Refutations} from "./Refutations.sol";

/// @title DisputeGame
contract DisputeGame is Games {
    using RequestLib for IOracle.Request;
    using RequestLib for IOracle.Answer;

    uint256 private constant WITNESSES = 8;
    uint256 private constant WITNESSES_PERCENT = 20;

    uint256 private constant MAX_LEAF_BYTES = 2048;
    uint256 private constant TOKENS_LEAF_BYTES = 32;

    ITokenReferee public immutable tokenReferee;
    IAnswerReferee public immutable answerReferee;
    Refutations public immutable refutations;
    Adoption private immutable _adoption;

    constructor(
        IOracle oracle_,
        IReferee referee_,
        ITokenReferee tokenReferee_,
        ITextReferee textReferee_,
        IAnswerReferee answerReferee_
    ) GameServices(oracle_, referee_) {
        tokenReferee = tokenReferee_;
        answerReferee = answerReferee_;
        refutations = new Refutations(this, oracle_, tokenReferee_, textReferee_, answerReferee_);
        _adoption = new Adoption(oracle_, referee_);
    }

    /// @dev Shares of slashed bonds, on their way to witnesses.
    receive() external payable {
        if (msg.sender != address(oracle)) revert NotOracle(msg.sender);
    }

    /* SERVICES */

    /// @inheritdoc IArbiter
    function adopt(ServiceId, IServices.Terms calldata) external returns (uint32) {
        Delegated.run(address(_adoption));
    }

    /* CHALLENGER */

    /// @inheritdoc IDisputeGame
    function challenge(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IReferee.Tokens calldata tokens,
        uint256 positions
    ) external payable returns (GameId) {
        _checkPosition(ans, tokens, positions);
        return _challenge(req, ans, Stage.Steps, uint32(positions));
    }

    /// @inheritdoc IDisputeGame
    function challengeUnread(IOracle.Request calldata req, IOracle.Answer calldata ans)
        external
        payable
        returns (GameId)
    {
        return _challenge(req, ans, Stage.Tokens, 0);
    }

    function _challenge(IOracle.Request calldata req, IOracle.Answer calldata ans, Stage stage, uint32 positions)
        private
        returns (GameId gameId)
    {
        CaseId caseId = caseIdOf(req, ans);
        Case memory c = _cases[caseId];
        if (c.dead) revert AnswerDead(caseId);
        GameTerms memory terms = termsOf(req.service);
        uint256 priceWei = _price(terms, c.open);
        if (msg.value < priceWei) revert ChallengeUnderpaid(priceWei, msg.value);
        bool first = c.open == 0;
        if (!first && block.timestamp > ans.closesAt()) revert WindowClosed(caseId, ans.closesAt());

        // INVARIANT: this contract holds the bond of every game that is not over, and the shares left of killed answers'
        // bonds. `priceWei` stays here until the game is over; the rest goes back as credit.
        c.service = uint32(_indexOf[req.service]);
        c.seat = ans.seat();
        ++c.open;
        ++c.count;
        _cases[caseId] = c;
        Game memory g;
        g.turn.stage = stage;
        g.caseId = caseId;
        g.turn.positions = positions;
        g.turn.nodeSeconds = _queue(c, terms, first);
        g.turn.challengerSeconds = terms.clockSeconds;
        _handOver(g, terms);
        gameId = _gameId(caseId, c.count);
        Game storage stored = _games[gameId];
        (stored.challenger, stored.bondWei, stored.number) = (msg.sender, uint72(priceWei), c.count);
        stored.caseId = caseId;
        stored.turn = g.turn;
        emit GameOpened(gameId, caseId, req.id(), msg.sender, positions);

        // Checks everything about the answer, or reverts.
        if (first) oracle.dispute(req, ans);
        _pay(msg.sender, msg.value - priceWei);
    }

    /// @inheritdoc IDisputeGame
    function pickPosition(
        GameId gameId,
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IReferee.Tokens calldata tokens,
        uint256 positions
    ) external {
        Game memory g = _challengerMoves(gameId);
        // A challenger that asked for further parts of the tokens must find a fault in them.
        if (g.turn.positions != 0 || g.turn.step != 0) revert WrongStage(gameId, g.turn.stage);
        _checkCase(g, req, ans);
        _checkPosition(ans, tokens, positions);

        (g.turn.stage, g.turn.level, g.turn.index) = (Stage.Steps, 0, 0);
        g.turn.positions = uint32(positions);
        _next(gameId, g);
        emit PositionPicked(gameId, g.caseId, positions);
    }

    /// @inheritdoc IDisputeGame
    function pick(GameId gameId, uint256 child, bytes32 node, bytes32[] calldata proof) external {
        Game memory g = _challengerMoves(gameId);
        Stage stage = g.turn.stage;
        if (stage == Stage.Steps) {
            MerkleTree.check(_openings[_place(g)].root, _serviceOf(g).steps, child, node, proof);
            g.turn.step = uint16(child);
            g.turn.stage = Stage.Operators;
        } else if (stage == Stage.Operators) {
            bytes32 root = _openings[_place(g)].root;
            // No index stands for another operator.
            if (child > type(uint8).max) revert MerkleTree.IndexOutOfRange(child, 1 << 8);
            g.turn.operator = uint8(child);
            IReferee.Place memory place = IReferee.Place(g.turn.positions, g.turn.step, child, 0);
            g.turn.level = uint8(referee.pick(_serviceOf(g).model, place, root, node, proof));
            g.turn.stage = g.turn.level == 0 ? Stage.Values : Stage.Nodes;
        } else if (stage == Stage.Nodes) {
            uint256 down = Paths.down(g.turn.level);
            MerkleTree.check(g.disputed, 1 << down, child, node, proof);
            g.turn.level -= uint8(down);
            g.turn.index = uint40(uint256(g.turn.index) << down | child);
            if (g.turn.level == 0) g.turn.stage = Stage.Values;
        } else if (g.turn.positions == 0) {
            // After a part of the tokens, the challenger may ask for others: as many as there are openings.
            if (stage == Stage.Values && ++g.turn.step > MORE_PARTS) revert WrongStage(gameId, stage);
            Opening memory opening = _openings[Paths.tokens(g.caseId)];
            uint256 below = Paths.tokensBelow(opening.levels);
            MerkleTree.check(opening.root, 1 << (opening.levels - below), child, node, proof);
            (g.turn.stage, g.turn.level, g.turn.index) = (Stage.Values, uint8(below), uint40(child));
        } else {
            revert WrongStage(gameId, stage);
        }
        _games[gameId].disputed = node;
        if (g.turn.positions != 0 && g.turn.stage != Stage.Nodes) _arrive(gameId, g);
        _next(gameId, g);
        emit Picked(gameId, g.caseId, stage, child, node);
    }

    /* REFEREES */

    /// @inheritdoc IDisputeGame
    function won(GameId gameId, IOracle.Request calldata req, IOracle.Answer calldata ans) external {
        bool trusted = msg.sender == address(referee) || msg.sender == address(tokenReferee);
        if (!trusted && msg.sender != address(answerReferee)) revert NotReferee(msg.sender);
        Game memory g = _moves(gameId, false);
        // Nothing is computed yet as long as the answer's tokens are being read.
        if (g.turn.positions == 0) revert WrongStage(gameId, g.turn.stage);
        _checkCase(g, req, ans);
        // What a proof shows is about the place, not about one of the games that stand there.
        (gameId, g) = _winner(gameId, g);
        _win(gameId, g, req, ans);
    }

    /// @inheritdoc IDisputeGame
    function refuted(IOracle.Request calldata req, IOracle.Answer calldata ans, address prover) external {
        if (msg.sender != address(refutations)) revert NotReferee(msg.sender);
        CaseId caseId = caseIdOf(req, ans);
        Case memory c = _cases[caseId];
        if (c.dead) revert AnswerDead(caseId);
        // The oracle calls nobody back when it disputes.
        // slither-disable-next-line reentrancy-no-eth
        if (c.open == 0) oracle.dispute(req, ans);
        _unqueue(c, c.open, true);
        _kill(caseId, c, req, ans, prover, GameId.wrap(0));
    }

    /* NODE */

    /// @inheritdoc IDisputeGame
    function openTokens(
        GameId gameId,
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        uint256 promptCount,
        bytes32[] calldata nodes
    ) external {
        Game memory g = _moves(gameId, true);
        if (g.turn.stage != Stage.Tokens) revert WrongStage(gameId, g.turn.stage);
        _checkCase(g, req, ans);
        (bytes32 root, uint256 levels) = tokenReferee.unfold(_serviceOf(g).model, ans, promptCount, nodes);
        _openings[_place(g)].levels = uint8(levels);
        emit TokensOpened(gameId, g.caseId, _place(g), promptCount, nodes);
        _opened(gameId, g, root);
    }

    /// @inheritdoc IDisputeGame
    function open(GameId gameId, bytes32[] calldata nodes) external {
        Game memory g = _moves(gameId, true);
        Stage stage = g.turn.stage;
        uint256 count;
        if (stage == Stage.Nodes) {
            count = 1 << Paths.down(g.turn.level);
        } else {
            // The only openings that nothing above binds.
            _checkNode(g);
            if (stage == Stage.Steps) count = _serviceOf(g).steps;
            else if (stage == Stage.Operators) count = referee.operators(_serviceOf(g).model, g.turn.step);
            else revert WrongStage(gameId, stage);
        }
        if (nodes.length != count) revert WrongOpeningLength(count, nodes.length);
        emit ListOpened(gameId, g.caseId, _place(g), nodes);
        bytes32 root = MerkleTree.rootOf(nodes);
        if (stage != Stage.Steps) {
            // A step's root is that of its last operator.
            bytes32 bound = stage == Stage.Operators ? nodes[count - 1] : root;
            if (bound != g.disputed) revert WrongOpening(g.disputed, bound);
        }
        _opened(gameId, g, stage == Stage.Nodes ? bytes32(0) : root);
    }

    /// @inheritdoc IDisputeGame
    function openValues(GameId gameId, bytes calldata values) external {
        Game memory g = _moves(gameId, true);
        if (g.turn.stage != Stage.Values) revert WrongStage(gameId, g.turn.stage);
        bytes32 opened;
        if (g.turn.positions == 0) {
            uint256 size = TOKENS_LEAF_BYTES << g.turn.level;
            if (values.length != size) revert WrongOpeningLength(size, values.length);
            opened = tokenReferee.rootOf(values);
        } else {
            // No leaf is longer. The referee refuses wrong lengths within these bounds.
            if (values.length > MAX_LEAF_BYTES) revert WrongOpeningLength(MAX_LEAF_BYTES, values.length);
            opened = MerkleTree.hashLeaf(values);
        }
        if (opened != g.disputed) revert WrongOpening(g.disputed, opened);
        emit ValuesOpened(gameId, g.caseId, _place(g), values);
        _opened(gameId, g, 0);
    }

    /* ANYONE */

    /// @inheritdoc IDisputeGame
    function timeout(GameId gameId, IOracle.Request calldata req, IOracle.Answer calldata ans) external {
        Game memory g = gameOf(gameId);
        if (g.turn.stage == Stage.None || g.turn.stage == Stage.Over) revert WrongStage(gameId, g.turn.stage);
        Case memory c = _cases[g.caseId];
        if (c.dead) revert AnswerDead(g.caseId);
        if (block.timestamp <= g.turn.deadline) revert ClockRuns(gameId, g.turn.deadline);
        _checkCase(g, req, ans);
        if (g.turn.nodeToMove) {
            _win(gameId, g, req, ans);
            return;
        }

        // INVARIANT: a lost bond leaves here once, because the stage is Over first. It repays the node's openings; the rest
        // is burnt.
        --c.open;
        _unqueue(c, 1, c.open == 0);
        _cases[g.caseId] = c;
        _games[gameId].turn.stage = Stage.Over;
        uint256 gasWei = _gasWei(_serviceOf(g).terms, g.turn.openings);
        if (gasWei > g.bondWei) gasWei = g.bondWei;
        emit GameEnded(gameId, g.caseId, false, gasWei);
        _pay(oracle.operatorOf(req.service, c.seat), gasWei);
        _pay(BURN, g.bondWei - gasWei);
        if (c.open == 0) oracle.rule(req, ans, IOracle.Ruling.Upheld, 0, new IOracle.Payout[](0));
    }

    /// @inheritdoc IDisputeGame
    function settle(GameId gameId) external {
        Game memory g = _stored(gameId);
        if (g.turn.stage == Stage.None || g.turn.stage == Stage.Over) revert WrongStage(gameId, g.turn.stage);
        Case memory c = _cases[g.caseId];
        if (!c.dead) revert AnswerAlive(g.caseId);

        // INVARIANT: the bond goes back once, whoever calls. A game takes at most one share, and the last game to settle
        // burns the shares that are left.
        uint256 shareWei;
        if (c.shares != 0 && Paths.isOnTheWay(g.turn, _stored(_gameId(g.caseId, c.won)).turn)) {
            shareWei = c.shareWei;
            --c.shares;
        }
        --c.open;
        uint256 leftWei;
        if (c.open == 0) {
            leftWei = uint256(c.shares) * c.shareWei;
            c.shares = 0;
        }
        _cases[g.caseId] = c;
        _games[gameId].turn.stage = Stage.Over;
        emit GameSettled(gameId, g.caseId, shareWei);
        _pay(_games[gameId].challenger, _games[gameId].bondWei + shareWei);
        _pay(BURN, leftWei);
    }

    /* CHECKS */

    function _checkNode(Game memory g) private view {
        address operator = oracle.operatorOf(_serviceOf(g).id, _cases[g.caseId].seat);
        if (msg.sender != operator) revert NotNode(msg.sender, operator);
    }

    function _checkCase(Game memory g, IOracle.Request calldata req, IOracle.Answer calldata ans) private pure {
        CaseId given = caseIdOf(req, ans);
        if (CaseId.unwrap(given) != CaseId.unwrap(g.caseId)) revert WrongCase(g.caseId, given);
    }

    function _checkTokens(IOracle.Answer calldata ans, IReferee.Tokens calldata tokens) private pure {
        bytes32 computed = keccak256(abi.encode(tokens));
        if (computed != ans.tokensRoot) revert WrongTokens(ans.tokensRoot, computed);
    }

    /// @dev The token in question is the one after `positions`, an output token.
    function _checkPosition(IOracle.Answer calldata ans, IReferee.Tokens calldata tokens, uint256 positions)
        private
        pure
    {
        _checkTokens(ans, tokens);
        bool inside = positions >= tokens.promptCount && positions - tokens.promptCount < ans.tokenCount();
        if (!inside || positions == 0 || positions > type(uint32).max) revert BadPosition(positions);
    }

    /* MONEY */

    function _win(GameId gameId, Game memory g, IOracle.Request calldata req, IOracle.Answer calldata ans) private {
        // INVARIANT: an answer dies once, and the bond of the game that killed it goes back once, to its challenger, whoever
        // made the last call.
        Case memory c = _cases[g.caseId];
        _unqueue(c, c.open, true);
        --c.open;
        c.won = _games[gameId].number;
        g.turn.stage = Stage.Over;
        // The path stays, to tell who was on the way; what was won by the clock ends where it stood.
        Game storage stored = _games[gameId];
        stored.turn = g.turn;
        emit GameEnded(gameId, g.caseId, true, 0);
        _kill(g.caseId, c, req, ans, stored.challenger, gameId);
        _pay(stored.challenger, stored.bondWei);
    }

    function _kill(
        CaseId caseId,
        Case memory c,
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        address prover,
        GameId gameId
    ) private {
        // INVARIANT: reward and shares are at most half of the bond (30 % + 8 * 2.5 %); the oracle burns the rest. The shares
        // are withdrawn to here before any game can settle.
        uint256 slashWei = req.bondWei();
        uint256 rewardWei = slashWei * REWARD_PERCENT / 100;
        c.dead = true;
        c.shareWei = uint72(slashWei * WITNESSES_PERCENT / 100 / WITNESSES);
        if (c.won != 0) c.shares = uint8(c.open < WITNESSES ? c.open : WITNESSES);
        _cases[caseId] = c;
        emit AnswerKilled(caseId, gameId, prover, rewardWei);

        uint256 sharesWei = uint256(c.shares) * c.shareWei;
        IOracle.Payout[] memory payouts = new IOracle.Payout[](2);
        payouts[0] = IOracle.Payout(prover, uint96(rewardWei));
        payouts[1] = IOracle.Payout(address(this), uint96(sharesWei));
        oracle.rule(req, ans, IOracle.Ruling.Rejected, uint72(slashWei), payouts);
        if (sharesWei != 0) oracle.withdraw(payable(address(this)), sharesWei);
    }

    function _pay(address account, uint256 amountWei) private {
        if (amountWei != 0) oracle.deposit{value: amountWei}(account);
    }
}
