// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IDisputeGame} from "../interfaces/IDisputeGame.sol";
import {ModelId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {RequestLib} from "../libraries/RequestLib.sol";
import {GameServices} from "./GameServices.sol";
import {Paths} from "./Paths.sol";

/// @title Where every game stands: its place, whose move it is, and until when.
abstract contract Games is IDisputeGame, GameServices {
    using RequestLib for IOracle.Request;
    using RequestLib for IOracle.Answer;

    mapping(CaseId caseId => Case) internal _cases;
    mapping(bytes32 place => Opening) internal _openings;
    /// @dev Seconds that open games add to a seat's clock in the next.
    mapping(uint256 service => mapping(uint16 seat => uint48)) internal _backlogs;
    mapping(GameId gameId => Game) internal _games;

    /* VIEWS */

    /// @inheritdoc IDisputeGame
    function termsOf(ServiceId service) public view returns (GameTerms memory) {
        return _services[_indexOf[service]].terms;
    }

    /// @inheritdoc IDisputeGame
    function modelOf(ServiceId service) external view returns (ModelId) {
        return _services[_indexOf[service]].model;
    }

    /// @inheritdoc IDisputeGame
    function gameOf(GameId gameId) public view returns (Game memory g) {
        g = _current(gameId);
        Game storage stored = _games[gameId];
        (g.challenger, g.bondWei, g.number) = (stored.challenger, stored.bondWei, stored.number);
    }

    /// @inheritdoc IDisputeGame
    function openingOf(bytes32 place) external view returns (Opening memory) {
        return _openings[place];
    }

    /// @inheritdoc IDisputeGame
    function caseOf(CaseId caseId) external view returns (Case memory) {
        return _cases[caseId];
    }

    /// @inheritdoc IDisputeGame
    function backlogOf(ServiceId service, uint16 seat) external view returns (uint256) {
        return _backlogs[_indexOf[service]][seat];
    }

    /// @inheritdoc IDisputeGame
    function caseIdOf(IOracle.Request calldata req, IOracle.Answer calldata ans) public pure returns (CaseId) {
        return CaseId.wrap(keccak256(abi.encode(req.id(), ans.hash())));
    }

    /* GAMES */

    function _gameId(CaseId caseId, uint256 number) internal pure returns (GameId) {
        return GameId.wrap(uint256(keccak256(abi.encode(caseId, number))));
    }

    /// @dev Without challenger, bond and number, which most moves have no use for.
    function _stored(GameId gameId) internal view returns (Game memory g) {
        Game storage stored = _games[gameId];
        (g.caseId, g.disputed, g.turn) = (stored.caseId, stored.disputed, stored.turn);
    }

    /// @dev As it stands now.
    function _current(GameId gameId) internal view returns (Game memory g) {
        g = _stored(gameId);
        if (!g.turn.nodeToMove || g.turn.stage == Stage.Over) return g;
        uint256 openedAt = _openings[_place(g)].openedAt;
        // Another game's opening serves this one as well, from when it was made, but not one that came too late here.
        if (openedAt == 0 || openedAt > g.turn.deadline) return g;
        g.turn.nodeSeconds = uint32(g.turn.deadline - openedAt);
        g.turn.nodeToMove = false;
        g.turn.deadline = _deadline(openedAt, g.turn.challengerSeconds, _serviceOf(g).terms.moveSeconds);
    }

    /// @dev Notes that a game has come to a place where a proof may end it.
    function _arrive(GameId gameId, Game memory g) internal {
        Opening storage opening = _openings[_place(g)];
        uint24 number = _games[gameId].number;
        if (opening.first == 0) opening.first = number;
        if (opening.oldest == 0 || number < opening.oldest) opening.oldest = number;
    }

    /// @dev The game that a proof wins: its own, if no other came to the place before it, or none that came is older. Whoever
    /// follows a challenger and copies its proof has neither. Then the first to come wins, or the oldest, if it stands
    /// there in time.
    function _winner(GameId gameId, Game memory g) internal view returns (GameId, Game memory) {
        bytes32 here = _place(g);
        Opening storage opening = _openings[here];
        (uint24 first, uint24 oldest) = (opening.first, opening.oldest);
        uint24 number = _games[gameId].number;
        for (uint256 i; i < 2 && number != first && number != oldest; ++i) {
            GameId other = _gameId(g.caseId, i == 0 ? first : oldest);
            Game memory theirs = _current(other);
            if (_place(theirs) == here && block.timestamp <= theirs.turn.deadline) return (other, theirs);
        }
        return (gameId, g);
    }

    /* CLOCKS */

    /// @dev A game in which it is this side's move, in time.
    function _moves(GameId gameId, bool node) internal view returns (Game memory g) {
        g = _current(gameId);
        if (g.turn.stage == Stage.None || g.turn.stage == Stage.Over) revert WrongStage(gameId, g.turn.stage);
        if (_cases[g.caseId].dead) revert AnswerDead(g.caseId);
        if (g.turn.nodeToMove != node) revert NotYourMove(gameId, g.turn.nodeToMove);
        if (block.timestamp > g.turn.deadline) revert ClockRanOut(gameId, g.turn.deadline);
    }

    function _challengerMoves(GameId gameId) internal view returns (Game memory g) {
        g = _moves(gameId, false);
        address challenger = _games[gameId].challenger;
        if (msg.sender != challenger) revert NotChallenger(msg.sender, challenger);
    }

    function _deadline(uint256 from, uint256 clock, uint256 least) internal pure returns (uint48) {
        return uint48(from + (clock > least ? clock : least));
    }

    /// @dev After the challenger's move: the node's turn, unless what it has to show is open already.
    function _handOver(Game memory g, GameTerms memory terms) internal view {
        g.turn.nodeToMove = _openings[_place(g)].openedAt == 0;
        bool first = g.turn.stage == Stage.Steps || g.turn.stage == Stage.Tokens;
        g.turn.deadline = g.turn.nodeToMove
            ? _deadline(block.timestamp, g.turn.nodeSeconds, first ? terms.firstMoveSeconds : terms.moveSeconds)
            : _deadline(block.timestamp, g.turn.challengerSeconds, terms.moveSeconds);
    }

    function _next(GameId gameId, Game memory g) internal {
        g.turn.challengerSeconds = uint32(g.turn.deadline - block.timestamp);
        _handOver(g, _serviceOf(g).terms);
        _games[gameId].turn = g.turn;
    }

    /// @dev After the node's move.
    function _opened(GameId gameId, Game memory g, bytes32 shown) internal {
        Opening storage opening = _openings[_place(g)];
        if (shown != 0) opening.root = shown;
        opening.openedAt = uint48(block.timestamp);
        ++g.turn.openings;
        g.turn.nodeSeconds = uint32(g.turn.deadline - block.timestamp);
        g.turn.nodeToMove = false;
        g.turn.deadline = _deadline(block.timestamp, g.turn.challengerSeconds, _serviceOf(g).terms.moveSeconds);
        _games[gameId].turn = g.turn;
    }

    /* QUEUE */

    /// @dev The node's clock in a new game, longer by what games opened before may ask of it meanwhile; the game counts in
    /// later ones. A case's first game asks for a prefill as well.
    function _queue(Case memory c, GameTerms memory terms, bool first) internal returns (uint32) {
        uint256 backlog = _backlogs[c.service][c.seat];
        uint256 clock = terms.clockSeconds + backlog;
        backlog += terms.queueSeconds + (first ? terms.firstMoveSeconds : 0);
        _backlogs[c.service][c.seat] = uint48(backlog);
        return clock < type(uint32).max ? uint32(clock) : type(uint32).max;
    }

    /// @dev `games` of a case are over. last: no other game of the case asks anything of the node.
    function _unqueue(Case memory c, uint256 games, bool last) internal {
        if (games == 0) return;
        GameTerms storage terms = _services[c.service].terms;
        _backlogs[c.service][c.seat] -= uint48(games * terms.queueSeconds + (last ? terms.firstMoveSeconds : 0));
    }

    /* PLACES */

    function _place(Game memory g) internal pure returns (bytes32) {
        return Paths.place(g.caseId, g.turn);
    }

    function _serviceOf(Game memory g) internal view returns (Service storage) {
        return _services[_cases[g.caseId].service];
    }
}
