// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IAnswerReferee} from "../interfaces/IAnswerReferee.sol";
import {IDisputeGame} from "../interfaces/IDisputeGame.sol";
import {ModelId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IReferee} from "../interfaces/IReferee.sol";
import {IRefutations} from "../interfaces/IRefutations.sol";
import {ITextReferee} from "../interfaces/ITextReferee.sol";
import {ITokenReferee} from "../interfaces/ITokenReferee.sol";

/// @title Refutations
/// @dev Each game deploys its own. It holds nothing but waiting rewards, as credit at the oracle.
contract Refutations is IRefutations {
    uint256 public constant WAIT_BLOCKS = 16;

    IDisputeGame public immutable game;
    IOracle public immutable oracle;
    ITokenReferee public immutable tokenReferee;
    ITextReferee public immutable textReferee;
    IAnswerReferee public immutable answerReferee;

    /// @inheritdoc IRefutations
    mapping(bytes32 hash => uint256) public postedAt;
    mapping(IDisputeGame.CaseId caseId => Reward) private _rewards;

    constructor(
        IDisputeGame game_,
        IOracle oracle_,
        ITokenReferee tokenReferee_,
        ITextReferee textReferee_,
        IAnswerReferee answerReferee_
    ) {
        game = game_;
        oracle = oracle_;
        tokenReferee = tokenReferee_;
        textReferee = textReferee_;
        answerReferee = answerReferee_;
    }

    /// @dev Rewards, on their way to refuters.
    receive() external payable {
        if (msg.sender != address(oracle)) revert IDisputeGame.NotOracle(msg.sender);
    }

    /// @inheritdoc IRefutations
    function post(bytes32 hash) external {
        if (postedAt[hash] != 0) return;
        postedAt[hash] = block.number;
        emit RefutationPosted(hash, msg.sender);
    }

    /// @inheritdoc IRefutations
    function refute(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IReferee.Tokens calldata tokens,
        ITokenReferee.Fault fault,
        uint256 index,
        bytes calldata prompt,
        bytes calldata output,
        IReferee.Input[] calldata inputs
    ) external {
        ModelId model = game.modelOf(req.service);
        if (!tokenReferee.isMalformed(req, ans, model, tokens, fault, index, prompt, output, inputs)) {
            revert IReferee.NothingWrong();
        }
        _refuted(req, ans);
    }

    /// @inheritdoc IRefutations
    function refutePrompt(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IReferee.Tokens calldata tokens,
        bytes calldata prompt,
        ITextReferee.Proof calldata shown
    ) external {
        if (!textReferee.isWrongPrompt(req, ans, game.modelOf(req.service), tokens, prompt, shown)) {
            revert IReferee.NothingWrong();
        }
        _refuted(req, ans);
    }

    /// @inheritdoc IRefutations
    function refuteAnswer(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IReferee.Tokens calldata tokens,
        bytes calldata prompt,
        bytes calldata output,
        uint256 index,
        IReferee.Input calldata token
    ) external {
        ModelId model = game.modelOf(req.service);
        if (!answerReferee.isWrongAnswer(req, ans, model, tokens, prompt, output, index, token)) {
            revert IReferee.NothingWrong();
        }
        _refuted(req, ans);
    }

    /// @inheritdoc IRefutations
    function refutePattern(
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        IReferee.Tokens calldata tokens,
        IAnswerReferee.PatternFault fault,
        uint256 which,
        bytes calldata prompt,
        bytes calldata output,
        IReferee.Input[] calldata inputs
    ) external {
        ModelId model = game.modelOf(req.service);
        if (!answerReferee.isWrongPattern(req, ans, model, tokens, fault, which, prompt, output, inputs)) {
            revert IReferee.NothingWrong();
        }
        _refuted(req, ans);
    }

    /// @dev The call's hash is what its sender may have posted.
    function _refuted(IOracle.Request calldata req, IOracle.Answer calldata ans) private {
        uint256 since = postedAt[keccak256(abi.encodePacked(msg.sender, msg.data))];
        if (since == 0) since = block.number;
        IDisputeGame.CaseId caseId = game.caseIdOf(req, ans);
        Reward memory reward = _rewards[caseId];
        if (block.number <= reward.waitsUntil) {
            if (since >= reward.postedAt) revert PostedTooLate(caseId, since, reward.postedAt - 1);
            // INVARIANT: a waiting reward changes hands only for an older hash, and its amount stays.
            reward.refuter = msg.sender;
            reward.postedAt = uint48(since);
        } else if (block.number - since >= WAIT_BLOCKS) {
            game.refuted(req, ans, msg.sender);
            return;
        } else {
            // INVARIANT: an answer dies once, so there is no reward of this case yet. What waits is exactly what the kill
            // credited here.
            uint256 before = oracle.credit(address(this));
            // Neither game nor oracle calls anybody back.
            // slither-disable-next-line reentrancy-no-eth,reentrancy-benign
            game.refuted(req, ans, address(this));
            uint256 amountWei = oracle.credit(address(this)) - before;
            reward = Reward(msg.sender, uint48(since), uint48(block.number + WAIT_BLOCKS), uint96(amountWei));
        }
        _rewards[caseId] = reward;
        emit RewardWaits(caseId, msg.sender, since, reward.waitsUntil, reward.amountWei);
    }

    /// @inheritdoc IRefutations
    function pay(IDisputeGame.CaseId caseId) external {
        Reward memory reward = _rewards[caseId];
        if (reward.amountWei == 0) revert NothingToPay(caseId);
        if (block.number <= reward.waitsUntil) revert RewardStillWaits(caseId, reward.waitsUntil);
        // INVARIANT: a reward is paid once, and whole, to the refuter.
        _rewards[caseId].amountWei = 0;
        emit RewardPaid(caseId, reward.refuter, reward.amountWei);
        oracle.withdraw(payable(address(this)), reward.amountWei);
        oracle.deposit{value: reward.amountWei}(reward.refuter);
    }

    /// @inheritdoc IRefutations
    function rewardOf(IDisputeGame.CaseId caseId) external view returns (Reward memory) {
        return _rewards[caseId];
    }
}
