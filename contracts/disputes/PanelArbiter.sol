// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Blockhash} from "@openzeppelin/contracts/utils/Blockhash.sol";

import {IArbiter} from "../interfaces/IArbiter.sol";
import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IModelRegistry} from "../interfaces/IModelRegistry.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IPanelArbiter} from "../interfaces/IPanelArbiter.sol";
import {IServices} from "../interfaces/IServices.sol";
import {Prompts} from "../libraries/Prompts.sol";
import {RequestLib} from "../libraries/RequestLib.sol";

/// @title PanelArbiter
contract PanelArbiter is IPanelArbiter {
    using RequestLib for IOracle.Request;
    using RequestLib for IOracle.Answer;

    /// @dev Blocks between a challenge and the block that draws its panel.
    uint48 public constant DRAW_DELAY = 2;

    /// @dev How long a service must expect `draw` to wait for somebody to call it.
    uint32 public constant DRAW_SECONDS = 1 hours;

    /// @notice Most members of a panel: drawing and deciding must fit one transaction each.
    uint8 public constant MAX_PANEL = 63;

    /// @notice Longest time to commit, and to reveal.
    uint32 public constant MAX_VOTING = 7 days;

    struct Ballot {
        bytes32 commitment;
        Vote vote;
    }

    IOracle public immutable oracle;
    IModelRegistry public immutable registry;

    mapping(ServiceId service => PanelTerms) private _terms;
    mapping(CaseId caseId => Case) private _cases;
    mapping(CaseId caseId => mapping(uint16 seat => Ballot)) private _ballots;

    constructor(IOracle oracle_, IModelRegistry registry_) {
        oracle = oracle_;
        registry = registry_;
    }

    /* SERVICES */

    /// @inheritdoc IArbiter
    function adopt(ServiceId service, IServices.Terms calldata terms) external returns (uint32 disputeSeconds) {
        if (msg.sender != address(oracle)) revert NotOracle(msg.sender);
        PanelTerms memory panel = abi.decode(terms.arbiterTerms, (PanelTerms));
        uint256 feesWei = uint256(panel.voteFeeWei) * panel.panelSize;
        if (panel.panelSize % 2 == 0) revert EvenPanel(panel.panelSize);
        if (panel.panelSize > MAX_PANEL) revert PanelTooLarge(panel.panelSize, MAX_PANEL);
        if (panel.voteFeeWei == 0) revert NoVoteFee();
        if (panel.absencePenaltyWei == 0) revert NoAbsencePenalty();
        uint256 leastOwners = uint256(panel.panelSize) + 2;
        if (terms.minOwners < leastOwners) revert TooFewOwners(terms.minOwners, leastOwners);
        if (
            panel.commitSeconds == 0 || panel.revealSeconds == 0 || panel.commitSeconds > MAX_VOTING
                || panel.revealSeconds > MAX_VOTING
        ) revert VotingOutOfRange(panel.commitSeconds, panel.revealSeconds, MAX_VOTING);
        if (panel.challengeBondWei < feesWei) revert ChallengeBondTooSmall(panel.challengeBondWei, feesWei);
        if (terms.bondWei < 4 * feesWei) revert BondTooSmall(terms.bondWei, 4 * feesWei);
        uint256 leastSeatWei = uint256(terms.bondWei) + panel.absencePenaltyWei;
        if (terms.seatWei < leastSeatWei) revert SeatTooSmall(terms.seatWei, leastSeatWei);
        IModelRegistry.Frame memory frame = registry.frameOf(terms.model);
        Prompts.checkEnvelope(frame.contextLength, frame.prefixCount + frame.suffixCount, terms.maxPromptBytes, true);

        _terms[service] = panel;
        emit PanelAdopted(service, panel);
        return DRAW_SECONDS + panel.commitSeconds + panel.revealSeconds;
    }

    /* CASES */

    /// @inheritdoc IPanelArbiter
    function challenge(IOracle.Request calldata req, IOracle.Answer calldata ans)
        external
        payable
        returns (CaseId caseId)
    {
        uint256 bondWei = _terms[req.service].challengeBondWei;
        if (msg.value != bondWei) revert WrongChallengeBond(bondWei, msg.value);
        caseId = _caseId(req, ans);
        Case storage c = _cases[caseId];
        if (c.phase != Phase.None) revert AlreadyChallenged(caseId);

        // INVARIANT: this contract holds the challenger's bond of every case that is not decided. An answer has one case.
        c.service = req.service;
        c.challenger = msg.sender;
        c.answeredBy = ans.seat();
        c.seedBlock = uint48(block.number) + DRAW_DELAY;
        c.phase = Phase.Undrawn;
        emit CaseOpened(caseId, req.id(), msg.sender, req, ans, c.seedBlock);

        // Checks everything about the answer, or reverts.
        oracle.dispute(req, ans);
    }

    /// @inheritdoc IPanelArbiter
    function draw(IOracle.Request calldata req, IOracle.Answer calldata ans) external {
        CaseId caseId = _caseId(req, ans);
        Case storage c = _cases[caseId];
        if (c.phase != Phase.Undrawn) revert WrongPhase(caseId, c.phase);
        if (block.number <= c.seedBlock) revert NotYetDrawable(caseId, c.seedBlock);

        bytes32 seed = Blockhash.blockHash(c.seedBlock);
        if (seed == 0) {
            c.seedBlock = uint48(block.number) + DRAW_DELAY;
            emit DrawPostponed(caseId, c.seedBlock);
            return;
        }

        (uint16[] memory members, bool complete) = _drawMembers(seed, req, c.answeredBy, c.challenger);
        c.members = members;
        c.phase = Phase.Voting;
        c.commitEndsAt = uint48(block.timestamp) + _terms[req.service].commitSeconds;
        emit PanelDrawn(caseId, members, c.commitEndsAt);
        for (uint256 i; i < members.length; ++i) {
            // INVARIANT: `_rule` unlocks each member once, so every seat can be given up in the end.
            oracle.lockSeat(req.service, members[i]);
        }
        if (!complete) _rule(caseId, c, req, ans, IOracle.Ruling.Annulled, 0, 0, 0);
    }

    /// @inheritdoc IPanelArbiter
    function commit(CaseId caseId, uint16 seat, bytes32 commitment) external {
        Case storage c = _cases[caseId];
        if (c.phase != Phase.Voting) revert WrongPhase(caseId, c.phase);
        if (block.timestamp > c.commitEndsAt) revert CommitClosed(caseId, c.commitEndsAt);
        if (!_isMember(c, seat) || msg.sender != oracle.operatorOf(c.service, seat)) {
            revert NotMember(caseId, seat, msg.sender);
        }
        Ballot storage ballot = _ballots[caseId][seat];
        if (ballot.commitment != 0) revert AlreadyCommitted(caseId, seat);

        ballot.commitment = commitment;
        emit VoteCommitted(caseId, seat, commitment);
    }

    /// @inheritdoc IPanelArbiter
    function reveal(CaseId caseId, uint16 seat, Vote vote, bytes32 salt) external {
        Case storage c = _cases[caseId];
        if (c.phase != Phase.Voting) revert WrongPhase(caseId, c.phase);
        uint48 closesAt = c.commitEndsAt + _terms[c.service].revealSeconds;
        if (block.timestamp <= c.commitEndsAt || block.timestamp > closesAt) {
            revert RevealNotOpen(caseId, c.commitEndsAt + 1, closesAt);
        }
        Ballot storage ballot = _ballots[caseId][seat];
        if (
            vote == Vote.None || ballot.vote != Vote.None || ballot.commitment != commitmentOf(caseId, seat, vote, salt)
        ) revert WrongReveal(caseId, seat);

        ballot.vote = vote;
        emit VoteRevealed(caseId, seat, vote);
    }

    /// @inheritdoc IPanelArbiter
    function decide(IOracle.Request calldata req, IOracle.Answer calldata ans) external {
        CaseId caseId = _caseId(req, ans);
        Case storage c = _cases[caseId];
        if (c.phase != Phase.Voting) revert WrongPhase(caseId, c.phase);

        uint256 right;
        uint256 wrong;
        uint256 members = c.members.length;
        for (uint256 i; i < members; ++i) {
            Vote vote = _ballots[caseId][c.members[i]].vote;
            if (vote == Vote.Right) ++right;
            if (vote == Vote.Wrong) ++wrong;
        }
        uint48 revealEndsAt = c.commitEndsAt + _terms[req.service].revealSeconds;
        if (right + wrong < members && block.timestamp <= revealEndsAt) {
            revert VotesOutstanding(caseId, revealEndsAt);
        }

        IOracle.Ruling ruling =
            right == wrong ? IOracle.Ruling.Annulled : right > wrong ? IOracle.Ruling.Upheld : IOracle.Ruling.Rejected;
        _rule(caseId, c, req, ans, ruling, right, wrong, _terms[req.service].absencePenaltyWei);
    }

    /* VIEWS */

    /// @inheritdoc IPanelArbiter
    function termsOf(ServiceId service) external view returns (PanelTerms memory) {
        return _terms[service];
    }

    /// @inheritdoc IPanelArbiter
    function caseOf(CaseId caseId) external view returns (Case memory) {
        return _cases[caseId];
    }

    /// @inheritdoc IPanelArbiter
    function voteOf(CaseId caseId, uint16 seat) external view returns (bytes32, Vote) {
        Ballot storage ballot = _ballots[caseId][seat];
        return (ballot.commitment, ballot.vote);
    }

    /// @inheritdoc IPanelArbiter
    function caseIdOf(RequestId requestId, uint32 turn) public pure returns (CaseId) {
        return CaseId.wrap(keccak256(abi.encode(requestId, turn)));
    }

    /// @inheritdoc IPanelArbiter
    function commitmentOf(CaseId caseId, uint16 seat, Vote vote, bytes32 salt) public view returns (bytes32) {
        return keccak256(abi.encode("didyma.vote", block.chainid, address(this), caseId, seat, vote, salt));
    }

    /* INTERNALS */

    function _caseId(IOracle.Request calldata req, IOracle.Answer calldata ans) private pure returns (CaseId) {
        return caseIdOf(req.id(), ans.turn());
    }

    function _isMember(Case storage c, uint16 seat) private view returns (bool) {
        for (uint256 i; i < c.members.length; ++i) {
            if (c.members[i] == seat) return true;
        }
        return false;
    }

    /// @dev The first `panelSize` eligible seats of a random permutation (Fisher and Yates), no two of one owner. Only
    /// seats that were in the draw when the request was made are drawn, so nobody can add seats after seeing the seed. A
    /// leaving seat serves until its exit, so a liar's seats cannot leave a panel incomplete, and an owner counted by
    /// `minOwners` is still there.
    function _drawMembers(bytes32 seed, IOracle.Request calldata req, uint16 answeredBy, address challenger)
        private
        view
        returns (uint16[] memory members, bool complete)
    {
        ServiceId service = req.service;
        PanelTerms memory terms = _terms[service];
        uint256 seatCount = req.seatCount();
        uint256[] memory order = new uint256[](seatCount);
        for (uint256 i; i < seatCount; ++i) {
            order[i] = i;
        }

        members = new uint16[](terms.panelSize);
        address[] memory owners = new address[](terms.panelSize + 1);
        owners[0] = oracle.seatOf(service, answeredBy).owner;
        uint256 drawn;
        for (uint256 i; i < seatCount && drawn < terms.panelSize; ++i) {
            uint256 j = i + uint256(keccak256(abi.encode(seed, i))) % (seatCount - i);
            (order[i], order[j]) = (order[j], order[i]);

            uint16 number = oracle.seatAt(service, uint16(order[i]), req.blockNumber());
            IServices.Seat memory seat = oracle.seatOf(service, number);
            bool eligible = seat.status >= IServices.SeatStatus.Active && seat.balanceWei >= terms.absencePenaltyWei
                && seat.owner != challenger && seat.operator != challenger;
            for (uint256 k; eligible && k <= drawn; ++k) {
                eligible = seat.owner != owners[k];
            }
            if (eligible) {
                members[drawn++] = number;
                owners[drawn] = seat.owner;
            }
        }
        complete = drawn == terms.panelSize;
        assembly ("memory-safe") {
            mstore(members, drawn)
        }
    }

    /// @dev Every case ends here: frees the seats, moves the bonds, moves the request on.
    function _rule(
        CaseId caseId,
        Case storage c,
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IOracle.Ruling ruling,
        uint256 right,
        uint256 wrong,
        uint72 absencePenaltyWei
    ) private {
        // INVARIANT: a case is decided once, and the challenger's bond leaves with its ruling. Fees and what the challenger
        // gets are at most the bond plus what is slashed: `adopt` refuses bonds below the fees, and below four times the fees
        // for the node's; so `rule` cannot revert.
        PanelTerms memory terms = _terms[req.service];
        c.phase = Phase.Decided;
        emit CaseDecided(caseId, ruling, right, wrong);

        IOracle.Payout[] memory payouts = new IOracle.Payout[](right + wrong + 1);
        uint256 paid;
        uint256 members = c.members.length;
        for (uint256 i; i < members; ++i) {
            uint16 seat = c.members[i];
            bool present = _ballots[caseId][seat].vote != Vote.None;
            if (present) {
                payouts[paid++] = IOracle.Payout(oracle.seatOf(req.service, seat).owner, terms.voteFeeWei);
            }
            oracle.unlockSeat(req.service, seat, present ? 0 : absencePenaltyWei);
        }

        uint256 feesWei = (right + wrong) * terms.voteFeeWei;
        uint256 slashWei;
        uint256 challengerWei;
        if (ruling == IOracle.Ruling.Rejected) {
            slashWei = uint72(req.bondWei());
            challengerWei = terms.challengeBondWei + slashWei / 2 - feesWei;
        } else if (ruling == IOracle.Ruling.Annulled) {
            slashWei = feesWei / 2;
            challengerWei = terms.challengeBondWei - (feesWei - slashWei);
        }
        payouts[paid] = IOracle.Payout(c.challenger, uint96(challengerWei));
        oracle.rule{value: terms.challengeBondWei}(req, ans, ruling, uint72(slashWei), payouts);
    }
}
