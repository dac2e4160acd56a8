// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IArbiter} from "./IArbiter.sol";
import {ModelId, RequestId, ServiceId} from "./Ids.sol";
import {IOracle} from "./IOracle.sol";
import {IReferee} from "./IReferee.sol";
import {ITokenReferee} from "./ITokenReferee.sol";

/// @title The dispute game: two parties narrow their disagreement to one number, and the referee computes it.
/// @notice For services of exact models, whose prompts are text, token ids or parts of either (`Prompts`). A challenger
/// names the first output token that it disagrees with. The node opens the roots of all steps of the pass that chose
/// this token, then of one step's operators, then of one operator's tensor, down to a leaf's numbers; after each
/// opening the challenger picks the first part that differs from its own. Everything opened must hash to what was
/// picked above it, so neither party can bring in a value that the other could not refuse. In the end the challenger
/// shows the referee the inputs of one number (`IReferee.prove`), or that the model chooses another token
/// (`ITokenReferee.proveChoice`; `IAnswerReferee.provePattern`), or with another margin (`IAnswerReferee.proveMargin`).
/// If the tokens alone are at fault, it refutes the answer at once (`IRefutations.refute`). The challenger must prove
/// its claim; a side that does not move in time loses, and anyone may end its game.
///
/// Games about one answer run side by side. The first game that a challenger wins kills the answer. A lost game changes
/// nothing for the others, so a challenger cannot lose on purpose to protect a false answer. Openings belong to the
/// answer: all games that reach a place share them.
///
/// Money. Of a killed answer's bond, 30 % goes to the challenger of the game that was won, and 2.5 % to each of up to
/// eight others whose games stood on the way to the fault. The rest, at least half, is burnt, so a node that challenges
/// itself loses money. All open challenges get their bonds back. The bond of a lost challenge pays the node for its
/// openings, at the service's price and a fifth more; the rest is burnt.
interface IDisputeGame is IArbiter {
    /// @dev One for each pair of request and answer: the hash of both ids.
    type CaseId is bytes32;
    /// @dev Hash of the case and the game's number within it.
    type GameId is uint256;

    /// @notice `arbiterTerms` of a service whose answers are judged by the game: the ABI encoding of this struct.
    /// @param challengeBondWei of the first challenge; each open one makes the next dearer by a sixteenth.
    /// @param openingWei what an opening costs a node, at most. @param clockSeconds each side's for a whole game.
    /// @param moveSeconds what every move is granted at least; @param firstMoveSeconds the node's first, which needs a
    /// prefill. @param queueSeconds by which each open game lengthens the node's clock in those opened after it; twice what
    /// a node needs for all openings of a game. @param ceilingPercent of the first bond: no challenge costs more.
    struct GameTerms {
        uint72 challengeBondWei;
        uint72 openingWei;
        uint24 clockSeconds;
        uint24 moveSeconds;
        uint24 firstMoveSeconds;
        uint24 queueSeconds;
        uint16 ceilingPercent;
    }

    /// @notice What a node has shown at a place.
    /// @param root of the list; of what is bound from above, zero. @param openedAt Unix time in seconds; zero if nothing is.
    /// @param levels of the tree over the answer's tokens, where that is what is shown.
    /// @param first number of the game that came here first, of places where a proof may end one; @param oldest the least of
    /// all that came.
    struct Opening {
        bytes32 root;
        uint48 openedAt;
        uint8 levels;
        uint24 first;
        uint24 oldest;
    }

    /// @dev What is to be opened, or has been and waits for a pick. Tokens: how many the prompt has, and the tree over the
    /// answer's tokens, if the challenger does not know them. Steps: the first list. Operators: the second. Nodes: a tree.
    /// Values: a leaf; with no positions, some of the answer's tokens. Over: no more moves.
    enum Stage {
        None,
        Tokens,
        Steps,
        Operators,
        Nodes,
        Values,
        Over
    }

    /// @param challenger gets what the game earns, whoever sends the moves that anyone may send.
    /// @param number among the games of the case, from one. @param disputed root of what was picked last.
    struct Game {
        address challenger;
        uint72 bondWei;
        uint24 number;
        CaseId caseId;
        bytes32 disputed;
        Turn turn;
    }

    /// @notice All that every move changes.
    /// @param openings that the node made for this game.
    /// @param positions tokens of the pass; 0 as long as the answer's tokens are not open.
    /// @param step of the pass; with no positions, how many parts of the tokens were asked for after the first.
    /// @param level how far the disputed node stands above the leaves; @param index among the nodes of its level.
    /// @param deadline Unix time in seconds: the last moment to move. @param nodeToMove whose clock runs.
    /// @param nodeSeconds left to the node when its next turn begins; so `challengerSeconds`.
    struct Turn {
        Stage stage;
        uint8 openings;
        uint32 positions;
        uint16 step;
        uint8 operator;
        uint8 level;
        uint40 index;
        uint48 deadline;
        uint32 nodeSeconds;
        uint32 challengerSeconds;
        bool nodeToMove;
    }

    /// @param service index of the service. @param seat that answered. @param count games so far. @param open those that
    /// are not over. @param won number of the game that killed the answer, from one; zero if none did.
    /// @param shares left for `settle`, of `shareWei` each.
    struct Case {
        uint32 service;
        uint16 seat;
        uint24 count;
        uint24 open;
        uint24 won;
        uint8 shares;
        uint72 shareWei;
        bool dead;
    }

    event GameServiceAdopted(ServiceId indexed service, GameTerms terms);
    event GameOpened(
        GameId indexed gameId, CaseId indexed caseId, RequestId indexed requestId, address challenger, uint256 positions
    );
    /// @notice The node showed the upper part of the tree over the answer's tokens.
    /// @param place hash of case, stage and path: the same for all games that come this way.
    event TokensOpened(
        GameId indexed gameId, CaseId indexed caseId, bytes32 indexed place, uint256 promptCount, bytes32[] nodes
    );
    event ListOpened(GameId indexed gameId, CaseId indexed caseId, bytes32 indexed place, bytes32[] nodes);
    event ValuesOpened(GameId indexed gameId, CaseId indexed caseId, bytes32 indexed place, bytes values);
    event PositionPicked(GameId indexed gameId, CaseId indexed caseId, uint256 positions);
    event Picked(GameId indexed gameId, CaseId indexed caseId, Stage stage, uint256 child, bytes32 node);
    event GameEnded(GameId indexed gameId, CaseId indexed caseId, bool challengerWon, uint256 toNodeWei);
    /// @notice An answer was shown wrong. @param gameId the game that did; zero if its tokens alone were at fault.
    event AnswerKilled(CaseId indexed caseId, GameId indexed gameId, address indexed prover, uint256 rewardWei);
    event GameSettled(GameId indexed gameId, CaseId indexed caseId, uint256 shareWei);

    /// @notice Thrown when anyone but the oracle adopts a service.
    /// @dev Call `Oracle.createService`.
    error NotOracle(address caller);
    /// @notice Thrown when anyone but a referee says that a lie is proven.
    /// @dev Call the referee, which calls this.
    error NotReferee(address caller);
    /// @notice Thrown when terms leave no time to move, or less for the first move than for others.
    /// @dev Give every move a second at least, and the first as long as the others.
    error MovesTooShort(uint256 moveSeconds, uint256 firstMoveSeconds);
    /// @notice Thrown when terms give a side less time than a game takes, or more than a request may last.
    /// @dev Choose `clockSeconds` within the bounds given.
    error ClockOutOfRange(uint256 clockSeconds, uint256 leastSeconds, uint256 mostSeconds);
    /// @notice Thrown when terms set no price on openings.
    /// @dev Set a price on openings: unpaid ones would let a challenger drain the node.
    error OpeningsUnpaid();
    /// @notice Thrown when terms let the price of a challenge fall, or more than double.
    /// @dev Choose a ceiling within the bounds given.
    error CeilingOutOfRange(uint256 percent, uint256 leastPercent, uint256 mostPercent);
    /// @notice Thrown when games side by side would leave a node less than a second for each opening.
    /// @dev Give the queue more time, or the service fewer games at once.
    error QueueTooShort(uint256 queueSeconds, uint256 leastSeconds);
    /// @notice Thrown when a lost challenge would not repay the node for a whole game.
    /// @dev Raise the challenge bond to the least given.
    error ChallengeBondTooSmall(uint256 bondWei, uint256 leastWei);
    /// @notice Thrown when the reward for proving a lie is below twice the challenge bond.
    /// @dev Raise the service's bond or its reward.
    error RewardTooSmall(uint256 rewardWei, uint256 leastWei);
    /// @notice Thrown when a challenge sends less than its price now.
    /// @dev Send `challengeWei` at least; what is more becomes credit.
    error ChallengeUnderpaid(uint256 priceWei, uint256 givenWei);
    /// @notice Thrown when an answer's challenge window is over.
    /// @dev Nothing can be done about this answer; the watcher was late.
    error WindowClosed(CaseId caseId, uint256 closedAt);
    /// @notice Thrown when a pass has no tokens, or more than the answer.
    /// @dev Name a pass of one token up to all of the answer's.
    error BadPosition(uint256 positions);
    /// @notice Thrown when tokens are not those that the answer commits to.
    /// @dev Pass the token count and root of the answer's `tokensRoot`.
    error WrongTokens(bytes32 expected, bytes32 computed);
    /// @notice Thrown when request and answer are not those of the game.
    /// @dev Pass the request and answer of this game.
    error WrongCase(CaseId expected, CaseId given);
    /// @notice Thrown when a move belongs to another stage of the game.
    /// @dev Read `gameOf`: its stage says which move is next.
    error WrongStage(GameId gameId, Stage stage);
    /// @notice Thrown when the other side is to move.
    /// @dev Wait for it, or for its clock to run out.
    error NotYourMove(GameId gameId, bool nodeToMove);
    /// @notice Thrown when anyone but the answer's operator makes the node's move.
    /// @dev Send it from the operator's key.
    error NotNode(address caller, address operator);
    /// @notice Thrown when anyone but a game's challenger makes its move.
    /// @dev Send it from the challenger's key.
    error NotChallenger(address caller, address challenger);
    /// @notice Thrown when a move comes after its deadline.
    /// @dev The side that was to move has lost; `timeout` says so.
    error ClockRanOut(GameId gameId, uint256 deadline);
    /// @notice Thrown when a side is to lose by time that has time left.
    /// @dev Call again after `deadline`.
    error ClockRuns(GameId gameId, uint256 deadline);
    /// @notice Thrown when a list or a leaf does not have the size that arithmetic on the model gives it.
    /// @dev Show as many as `expected` says.
    error WrongOpeningLength(uint256 expected, uint256 given);
    /// @notice Thrown when an opening does not hash to what is disputed.
    /// @dev Show what the disputed root commits to.
    error WrongOpening(bytes32 expected, bytes32 computed);
    /// @notice Thrown when the answer was proven wrong already.
    /// @dev Nothing is to be done: games about it pay back by `collect`.
    error AnswerDead(CaseId caseId);
    /// @notice Thrown when something waits for the answer's end, and it has not ended.
    /// @dev Call again once the answer is proven wrong or its games are over.
    error AnswerAlive(CaseId caseId);

    /* CHALLENGER */

    /// @notice Opens a game about the pass over the first `positions` tokens. Send its price or more: any excess becomes the
    /// sender's credit. So a challenge in the block before, which raises the price, cannot make this one fail.
    /// @param tokens as the answer commits them.
    function challenge(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IReferee.Tokens calldata tokens,
        uint256 positions
    ) external payable returns (GameId);

    /// @notice Opens a game about an answer whose tokens the challenger does not know. The node must show first those that the
    /// challenger picks: `openTokens`, `pick`, `openValues`, then `pickPosition`.
    function challengeUnread(IOracle.Request calldata req, IOracle.Answer calldata ans)
        external
        payable
        returns (GameId);

    /// @notice Once the answer's tokens are being shown: names the pass.
    function pickPosition(
        GameId gameId,
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IReferee.Tokens calldata tokens,
        uint256 positions
    ) external;

    /// @notice Names the child that the challenger disagrees with. Of an answer's tokens, a challenger may ask for up to seven
    /// parts more after the first: a fault of a text's tokens may show behind the first token that differs. It then cannot
    /// name a pass in this game.
    /// @param node the child; @param proof that it is where it is, among the nodes opened.
    function pick(GameId gameId, uint256 child, bytes32 node, bytes32[] calldata proof) external;

    /* REFEREES */

    /// @notice Ends a game: what the node said there has been proven wrong. Only the referees call, having read the game.
    /// Reverts unless it is the challenger's move, in time. It wins another game that stands there in time if that one
    /// came there first, or is the oldest that came, and `gameId` is neither.
    function won(GameId gameId, IOracle.Request calldata req, IOracle.Answer calldata ans) external;

    /// @notice Kills an answer whose tokens have been proven to be at fault. Only `Refutations` calls.
    /// @param prover gets the reward.
    function refuted(IOracle.Request calldata req, IOracle.Answer calldata ans, address prover) external;

    /* NODE */

    /// @notice Shows how many tokens stand before the output, and the tree over all, down to nodes over 256 tokens each.
    /// Anyone may call, because the answer commits to them. If the answer commits to something that no right answer can, the
    /// call reverts (`ITokenReferee.unfold`) and the node loses by the clock.
    function openTokens(
        GameId gameId,
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        uint256 promptCount,
        bytes32[] calldata nodes
    ) external;

    /// @notice Shows the roots of a list, for which the caller must be the operator of the seat that answered; or a tree's
    /// nodes, for which anyone may call, because they must hash to what was picked.
    function open(GameId gameId, bytes32[] calldata nodes) external;

    /// @notice Shows a leaf, or all leaves of tokens below the node that was picked. Anyone may call, because they must hash to
    /// what was picked.
    function openValues(GameId gameId, bytes calldata values) external;

    /* ANYONE */

    /// @notice Ends a game whose clock ran out: the side to move has lost.
    function timeout(GameId gameId, IOracle.Request calldata req, IOracle.Answer calldata ans) external;

    /// @notice Ends an open game about a dead answer: gives the bond back, with a share if the game was on the way to the
    /// fault and shares are left.
    function settle(GameId gameId) external;

    /* VIEWS */

    function termsOf(ServiceId service) external view returns (GameTerms memory);

    /// @notice The model of an adopted service; zero for others.
    function modelOf(ServiceId service) external view returns (ModelId);

    /// @notice As it stands now, openings made in other games included.
    function gameOf(GameId gameId) external view returns (Game memory);

    function caseOf(CaseId caseId) external view returns (Case memory);

    /// @notice What a node has shown at a place: `Paths.place`.
    function openingOf(bytes32 place) external view returns (Opening memory);

    /// @notice By how much the games open against a seat lengthen the node's clock in the next, in seconds.
    function backlogOf(ServiceId service, uint16 seat) external view returns (uint256);

    function caseIdOf(IOracle.Request calldata req, IOracle.Answer calldata ans) external pure returns (CaseId);
}
