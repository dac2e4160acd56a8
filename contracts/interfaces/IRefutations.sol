// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IAnswerReferee} from "./IAnswerReferee.sol";
import {IDisputeGame} from "./IDisputeGame.sol";
import {IOracle} from "./IOracle.sol";
import {IReferee} from "./IReferee.sol";
import {ITextReferee} from "./ITextReferee.sol";
import {ITokenReferee} from "./ITokenReferee.sol";

/// @title Refutations: kill an answer whose tokens are at fault, at once, and pay whoever found the fault.
/// @notice A refutation needs no bond, so anyone can copy it from the mempool. To be safe from copiers, post a hash of
/// sender and call first. A refutation whose hash is WAIT_BLOCKS old is paid at once. Any other refutation kills the
/// answer, too, up to the last second of its window, but its reward waits for WAIT_BLOCKS. The reward then goes to the
/// refutation, among those sent meanwhile, whose hash was posted first; if there is none, to the one that killed the
/// answer. So a copier earns nothing unless it can delay the call that it copies for WAIT_BLOCKS. A hash names its
/// sender, so nobody gains or blocks anything by posting somebody else's.
interface IRefutations {
    /// @param refuter gets it; @param postedAt block of its hash, or of its refutation if it posted none.
    /// @param waitsUntil last block in which an earlier hash takes it. @param amountWei zero once paid.
    struct Reward {
        address refuter;
        uint48 postedAt;
        uint48 waitsUntil;
        uint96 amountWei;
    }

    event RefutationPosted(bytes32 indexed hash, address indexed poster);
    /// @notice A reward waits for refutations whose hash was posted before block `postedAt`.
    event RewardWaits(
        IDisputeGame.CaseId indexed caseId,
        address indexed refuter,
        uint256 postedAt,
        uint256 waitsUntil,
        uint256 amountWei
    );
    event RewardPaid(IDisputeGame.CaseId indexed caseId, address indexed refuter, uint256 amountWei);

    /// @notice Thrown when a reward waits for somebody whose hash was posted no later.
    /// @dev The reward goes to whoever posted the hash first.
    error PostedTooLate(IDisputeGame.CaseId caseId, uint256 postedAt, uint256 latest);
    /// @notice Thrown when a refutation's reward may still be claimed by an older hash.
    /// @dev Call again after `waitsUntil`.
    error RewardStillWaits(IDisputeGame.CaseId caseId, uint256 waitsUntil);
    /// @notice Thrown when no reward waits for this case.
    /// @dev Nothing is to be done: it was paid, or nothing was refuted.
    error NothingToPay(IDisputeGame.CaseId caseId);

    /// @notice Notes the block of a hash, unless it is known: keccak256 of the refuter's address (20 bytes) and the whole
    /// calldata of its call of `refute`, `refutePrompt`, `refuteAnswer` or `refutePattern`.
    function post(bytes32 hash) external;

    /// @notice Kills an answer whose tokens are at fault, at once. No bond, no clock. If somebody else did and the reward
    /// waits, takes the reward over. Arguments as `ITokenReferee.isMalformed` has them.
    function refute(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IReferee.Tokens calldata tokens,
        ITokenReferee.Fault fault,
        uint256 index,
        bytes calldata prompt,
        bytes calldata output,
        IReferee.Input[] calldata inputs
    ) external;

    /// @notice The same where the tokens are not the prompt's. Arguments as `ITextReferee.isWrongPrompt` has them.
    function refutePrompt(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IReferee.Tokens calldata tokens,
        bytes calldata prompt,
        ITextReferee.Proof calldata shown
    ) external;

    /// @notice The same where the prompt is typed and output or tokens are no answer. Arguments as
    /// `IAnswerReferee.isWrongAnswer` has them.
    function refuteAnswer(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IReferee.Tokens calldata tokens,
        bytes calldata prompt,
        bytes calldata output,
        uint256 index,
        IReferee.Input calldata token
    ) external;

    /// @notice The same where the prompt's type is a pattern and the answer does not follow it. Arguments as
    /// `IAnswerReferee.isWrongPattern` has them.
    function refutePattern(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IReferee.Tokens calldata tokens,
        IAnswerReferee.PatternFault fault,
        uint256 which,
        bytes calldata prompt,
        bytes calldata output,
        IReferee.Input[] calldata inputs
    ) external;

    /// @notice Credits a reward that has waited long enough. Anyone may call.
    function pay(IDisputeGame.CaseId caseId) external;

    /// @notice Block in which a hash was posted; zero for none.
    function postedAt(bytes32 hash) external view returns (uint256);

    function rewardOf(IDisputeGame.CaseId caseId) external view returns (Reward memory);
}
