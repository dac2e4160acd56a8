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

    /// @notice Thrown when anyone but the oracle adopts a service or rules.
    /// @dev Call the oracle, which calls this.
    error NotOracle(address caller);
    /// @notice Thrown when terms call for a panel of an even number of members, or of none.
    /// @dev Choose an odd number.
    error EvenPanel(uint256 panelSize);
    /// @notice Thrown when a panel would be too large to be drawn, or decided, in one transaction.
    /// @dev Choose a smaller one, up to the most given.
    error PanelTooLarge(uint256 panelSize, uint256 mostMembers);
    /// @notice Thrown when terms pay nothing for a vote.
    /// @dev Set a fee that covers the gas of two transactions.
    error NoVoteFee();
    /// @notice Thrown when staying away costs a member nothing.
    /// @dev Set a penalty.
    error NoAbsencePenalty();
    /// @notice Thrown when a panel may not find enough independent owners.
    /// @dev Raise `minOwners` to the least given.
    error TooFewOwners(uint256 minOwners, uint256 leastOwners);
    /// @notice Thrown when terms give voters no time, or too much.
    /// @dev Choose commit and reveal times within the bound given.
    error VotingOutOfRange(uint256 commitSeconds, uint256 revealSeconds, uint256 mostSeconds);
    /// @notice Thrown when a challenge bond is below what a panel is paid.
    /// @dev Raise the challenge bond to the least given.
    error ChallengeBondTooSmall(uint256 challengeBondWei, uint256 leastWei);
    /// @notice Thrown when a bond is below four times what a panel is paid.
    /// @dev Raise the service's bond to the least given.
    error BondTooSmall(uint256 bondWei, uint256 leastWei);
    /// @notice Thrown when a seat could not cover a bond and a panel's penalty.
    /// @dev Raise the service's least stake to the least given.
    error SeatTooSmall(uint256 seatWei, uint256 leastWei);
    /// @notice Thrown when a challenge sends another amount than the service's bond for it.
    /// @dev Send `expectedWei`.
    error WrongChallengeBond(uint256 expectedWei, uint256 givenWei);
    /// @notice Thrown when this answer was challenged before: its panel's word is final.
    /// @dev Nothing is to be done: wait for the panel.
    error AlreadyChallenged(CaseId caseId);
    /// @notice Thrown when a case is in another phase than the call needs.
    /// @dev Read the case: its phase says what comes next.
    error WrongPhase(CaseId caseId, Phase phase);
    /// @notice Thrown when the panel is drawn before its seed's block.
    /// @dev Call again after `seedBlock`.
    error NotYetDrawable(CaseId caseId, uint48 seedBlock);
    /// @notice Thrown when the sender operates no seat on this panel, or another than the one named.
    /// @dev Vote with the operator's key of a seat that was drawn.
    error NotMember(CaseId caseId, uint16 seat, address caller);
    /// @notice Thrown when a vote is committed too late.
    /// @dev Nothing is to be done; the seat pays the penalty.
    error CommitClosed(CaseId caseId, uint48 closedAt);
    /// @notice Thrown when a vote is revealed too early or too late.
    /// @dev Reveal between the times given.
    error RevealNotOpen(CaseId caseId, uint48 opensAt, uint48 closesAt);
    /// @notice Thrown when a seat has committed a vote already.
    /// @dev Reveal that vote: it cannot be changed.
    error AlreadyCommitted(CaseId caseId, uint16 seat);
    /// @notice Thrown when vote and salt are not what this seat committed to.
    /// @dev Reveal the vote and salt that were committed; nodes derive both from their key.
    error WrongReveal(CaseId caseId, uint16 seat);
    /// @notice Thrown when a case is closed while members may still reveal.
    /// @dev Call again after `revealEndsAt`.
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
