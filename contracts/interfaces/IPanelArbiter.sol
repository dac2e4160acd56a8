// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IArbiter} from "./IArbiter.sol";
import {RequestId, ServiceId} from "./Ids.sol";
import {IOracle} from "./IOracle.sol";

/// @title The panel: bonded nodes re-execute and vote.
/// @notice Judges answers that a contract cannot recompute. An answer has one case. The challenger opens it and takes no
/// part in it afterwards, so it cannot lose on purpose to protect a false answer. A block hash that nobody knows when the
/// case opens draws the members from the seats in the draw at the request that may still act (leaving ones included): one
/// for each owner, without the answering owner and the challenger. They commit, then reveal. More votes against the answer
/// reject it, more votes for it uphold it. A tie annuls it: both bonds go back, less half the panel's fees each, and the
/// request goes to its next turn.
///
/// Money. Rejected: half the node's bond is burnt; the panel's fees and the challenger's reward come from the other
/// half; the challenger's bond goes back. Upheld: the challenger's bond pays the panel's fees; the rest is burnt, because a
/// node that got it could bait challengers with answers that only look wrong. Absent members pay a penalty, which is burnt.
interface IPanelArbiter is IArbiter {
    /// @notice `arbiterTerms` of a service judged by a panel: the ABI encoding of this struct.
    /// @param challengeBondWei sent along with a challenge.
    /// @param voteFeeWei to each member that reveals a vote.
    /// @param absencePenaltyWei from each member that does not.
    /// @param commitSeconds from the drawing of the panel. @param revealSeconds thereafter.
    /// @param panelSize odd.
    /// @param tolerance fixed point, 16 fraction bits: an output token is wrong if its logit, sampling noise included,
    /// lies further than this below the best. Re-executors, not this contract, apply it.
    struct PanelTerms {
        uint72 challengeBondWei;
        uint72 voteFeeWei;
        uint72 absencePenaltyWei;
        uint32 commitSeconds;
        uint32 revealSeconds;
        uint8 panelSize;
        uint32 tolerance;
    }

    /// @dev A case is named by the request and the turn of the answer.
    type CaseId is bytes32;

    enum Vote {
        None,
        Right,
        Wrong
    }

    /// @dev Undrawn: no panel yet. Voting: drawn, votes come in. Decided: the request moved on.
    enum Phase {
        None,
        Undrawn,
        Voting,
        Decided
    }

    /// @param service of the request. @param answeredBy the seat whose answer is in question.
    /// @param seedBlock the hash of this block draws the panel.
    /// @param commitEndsAt Unix time in seconds: the last moment for commitments; zero before the draw.
    struct Case {
        ServiceId service;
        address challenger;
        uint16 answeredBy;
        Phase phase;
        uint48 seedBlock;
        uint48 commitEndsAt;
        uint16[] members;
    }

    event PanelAdopted(ServiceId indexed service, PanelTerms terms);
    event CaseOpened(
        CaseId indexed caseId,
        RequestId indexed requestId,
        address indexed challenger,
        IOracle.Request request,
        IOracle.Answer answer,
        uint48 seedBlock
    );
    /// @notice The block that should have drawn the panel is forgotten; another will.
    event DrawPostponed(CaseId indexed caseId, uint48 seedBlock);
    event PanelDrawn(CaseId indexed caseId, uint16[] members, uint48 commitEndsAt);
    event VoteCommitted(CaseId indexed caseId, uint16 indexed seat, bytes32 commitment);
    event VoteRevealed(CaseId indexed caseId, uint16 indexed seat, Vote vote);
    event CaseDecided(CaseId indexed caseId, IOracle.Ruling ruling, uint256 votesRight, uint256 votesWrong);

    error NotOracle(address caller);
    /// @notice This and the next seven are thrown by `adopt` for terms under which an honest panel could lose money.
    error EvenPanel(uint256 panelSize);
    error NoVoteFee();
    error NoAbsencePenalty();
    error TooFewOwners(uint256 minOwners, uint256 leastOwners);
    error VotingOutOfRange(uint256 commitSeconds, uint256 revealSeconds, uint256 mostSeconds);
    error ChallengeBondTooSmall(uint256 challengeBondWei, uint256 leastWei);
    error BondTooSmall(uint256 bondWei, uint256 leastWei);
    error SeatTooSmall(uint256 seatWei, uint256 leastWei);
    error WrongChallengeBond(uint256 expectedWei, uint256 givenWei);
    /// @notice Thrown when this answer was challenged before: its panel's word is final.
    error AlreadyChallenged(CaseId caseId);
    error WrongPhase(CaseId caseId, Phase phase);
    error NotYetDrawable(CaseId caseId, uint48 seedBlock);
    error NotMember(CaseId caseId, uint16 seat, address caller);
    error CommitClosed(CaseId caseId, uint48 closedAt);
    error RevealNotOpen(CaseId caseId, uint48 opensAt, uint48 closesAt);
    error AlreadyCommitted(CaseId caseId, uint16 seat);
    /// @notice Thrown when vote and salt are not what this seat committed to.
    error WrongReveal(CaseId caseId, uint16 seat);
    error VotesOutstanding(CaseId caseId, uint48 revealEndsAt);

    /// @notice Opens the case against `ans`. The ether sent is the challenger's bond.
    function challenge(IOracle.Request calldata req, IOracle.Answer calldata ans) external payable returns (CaseId);

    /// @notice Draws the panel, once the hash of `seedBlock` is known. Anyone may call.
    /// @dev With fewer independent seats than the panel needs the case is annulled at once.
    function draw(IOracle.Request calldata req, IOracle.Answer calldata ans) external;

    /// @notice Commits the vote of `seat`; only its operator. `commitment` is `commitmentOf` the vote.
    function commit(CaseId caseId, uint16 seat, bytes32 commitment) external;

    /// @notice Reveals a committed vote, after `commitEndsAt`. Anyone who knows the salt may send it.
    function reveal(CaseId caseId, uint16 seat, Vote vote, bytes32 salt) external;

    /// @notice Counts and rules: when every member has revealed, or revealing is over. Anyone may call.
    function decide(IOracle.Request calldata req, IOracle.Answer calldata ans) external;

    function termsOf(ServiceId service) external view returns (PanelTerms memory);

    function caseOf(CaseId caseId) external view returns (Case memory);

    /// @notice The commitment and the revealed vote of one member.
    function voteOf(CaseId caseId, uint16 seat) external view returns (bytes32 commitment, Vote vote);

    function caseIdOf(RequestId requestId, uint32 turn) external pure returns (CaseId);

    /// @notice Bound to chain, contract, case and seat, so that a copied commitment reveals nothing but a wrong reveal.
    function commitmentOf(CaseId caseId, uint16 seat, Vote vote, bytes32 salt) external view returns (bytes32);
}
