// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {OracleConsumer} from "../consumer/OracleConsumer.sol";
import {VerdictConsumer} from "../consumer/VerdictConsumer.sol";
import {IAgenticCommerce} from "../interfaces/IAgenticCommerce.sol";
import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";

/// @title A judge of agents' jobs: the model says whether the work is what the job asks for, and the escrow pays or refunds.
/// @notice The evaluator of ERC-8183, "Agentic Commerce" (a draft): a client names this contract when it creates a job. The
/// provider submits to the escrow, then shows the work here, in words. Yes completes the job, no rejects it. Where the model is
/// not sure this contract says nothing, and the client has its budget back from the escrow's `claimRefund` once the job expires.
/// What counts as delivered is the text shown here, which is on chain for all: the draft lets no evaluator read the deliverable.
/// Warning: the provider writes the text that is judged, and gains by a yes. A high margin does not make it honest. Keep budgets
/// small, and have the model judge what a text shows by itself.
contract JobEvaluator is VerdictConsumer {
    enum Stage {
        None,
        Asked,
        Approved,
        Refused,
        Unsure,
        Settled
    }

    /// @param workHash keccak256 of the text: the reason that the escrow is told.
    struct Judgement {
        Stage stage;
        RequestId requestId;
        bytes32 workHash;
    }

    /// @param minimumMargin below it the model was not sure; 16 fraction bits.
    /// @param answerSeconds deadline of a request, counted from its posting; the service must allow it.
    /// @param settleSeconds what must be left of a job when its work is shown: more than `answerSeconds`, a window and a dispute
    /// take. Otherwise the client could be refunded before the verdict.
    /// @param mostBudget of a job, in the escrow's token.
    /// @param valueFinney what `mostBudget` is worth, in units of 10^15 wei: it depends on an answer.
    /// @param treasury gets what the oracle refunds for tokens not used, and fees that the escrow pays its evaluator.
    struct Rules {
        uint32 minimumMargin;
        uint48 answerSeconds;
        uint48 settleSeconds;
        uint24 valueFinney;
        uint256 mostBudget;
        address payable treasury;
    }

    bytes public constant QUESTION = "Does the work do what the job asks for? Answer with one word.\n\nJob: ";
    bytes public constant BEFORE_WORK = "\n\nWork: ";

    /// @dev Indexes of the choices that act; any other verdict leaves the job to expire.
    uint8 private constant YES = 0;
    uint8 private constant NO = 1;

    /// @dev A verdict is only remembered: the escrow's token and a client's hook, which may be hostile, run in `settle`.
    uint32 public constant CALLBACK_GAS = 70_000;

    ServiceId public immutable service;
    IAgenticCommerce public immutable escrow;
    uint32 public immutable minimumMargin;
    uint48 public immutable answerSeconds;
    uint48 public immutable settleSeconds;
    uint24 public immutable valueFinney;
    uint256 public immutable mostBudget;
    address payable public immutable treasury;

    /// @dev Yes, no, unknown, in the service's tokens.
    bytes public answerType;

    mapping(uint256 jobId => Judgement) private _judgements;
    mapping(RequestId requestId => uint256) private _jobOf;

    event Shown(uint256 indexed jobId, RequestId indexed requestId, bytes32 indexed workHash);
    event Judged(uint256 indexed jobId, Stage stage);

    /// @notice Thrown for a job that has no submitted work, or another evaluator.
    /// @dev Name this contract when you create the job, and submit to the escrow first.
    error NotEvaluable(uint256 jobId, address evaluator, IAgenticCommerce.JobStatus status);
    /// @notice Thrown when anyone but the job's provider shows work.
    /// @dev Send it from the provider's account.
    error NotProvider(address caller);
    /// @notice Thrown for a job with a larger budget than this contract judges.
    /// @dev Split the job, or name an evaluator with larger limits.
    error BudgetTooLarge(uint256 budget, uint256 mostBudget);
    /// @notice Thrown when a verdict might come only after the job has expired.
    /// @dev Show work by `expiredAt - settleSeconds`.
    error TooLate(uint256 jobId, uint256 expiredAt);
    /// @notice Thrown when work was shown before, and its verdict is awaited or known.
    /// @dev There is one verdict of each job. Only if nobody answered may work be shown again.
    error AlreadyShown(uint256 jobId, Stage stage);
    /// @notice Thrown when there is no verdict by which the escrow could act, or it has acted.
    /// @dev Wait for one; if the model was not sure, call the escrow's `claimRefund` once the job has expired.
    error NothingToSettle(uint256 jobId, Stage stage);
    /// @notice Thrown when a token refuses to be sent to the treasury.
    /// @dev Nothing is lost: try again once the token allows it.
    error TransferFailed(address to, uint256 amountWei);

    /// @param answerType_ of `didyma type choice yes no unknown`, for the service's model.
    constructor(
        IOracle oracle_,
        ServiceId service_,
        bytes memory answerType_,
        IAgenticCommerce escrow_,
        Rules memory rules
    ) OracleConsumer(oracle_) {
        if (_choicesOf(answerType_) <= NO) revert NotAChoice();
        service = service_;
        answerType = answerType_;
        escrow = escrow_;
        minimumMargin = rules.minimumMargin;
        answerSeconds = rules.answerSeconds;
        settleSeconds = rules.settleSeconds;
        valueFinney = rules.valueFinney;
        mostBudget = rules.mostBudget;
        treasury = rules.treasury;
    }

    /// @notice Shows the work of a submitted job, and has it judged. Only its provider, who pays: send what `price` says.
    function show(uint256 jobId, bytes calldata work, uint64 callbackGasPriceWei)
        external
        payable
        returns (RequestId requestId)
    {
        string memory description = _checked(jobId);
        Judgement storage judgement = _judgements[jobId];
        if (judgement.stage != Stage.None) revert AlreadyShown(jobId, judgement.stage);

        (judgement.stage, judgement.workHash) = (Stage.Asked, keccak256(work));
        // The oracle is trusted, and its callback comes in a later transaction.
        // slither-disable-next-line reentrancy-eth,reentrancy-no-eth,reentrancy-benign
        requestId = _askChoice(
            service, answerType, _text(description, work), minimumMargin, _params(callbackGasPriceWei), msg.value
        );
        judgement.requestId = requestId;
        _jobOf[requestId] = jobId;
        emit Shown(jobId, requestId, judgement.workHash);
    }

    /// @notice Has the escrow act on a verdict, once. Anyone may call, and again if the escrow reverted.
    function settle(uint256 jobId) external {
        Judgement storage judgement = _judgements[jobId];
        Stage stage = judgement.stage;
        if (stage != Stage.Approved && stage != Stage.Refused) revert NothingToSettle(jobId, stage);

        // Before the escrow's token and hook, which may call again.
        judgement.stage = Stage.Settled;
        emit Judged(jobId, Stage.Settled);
        if (stage == Stage.Approved) escrow.complete(jobId, judgement.workHash, "");
        else escrow.reject(jobId, judgement.workHash, "");
    }

    /// @notice Sends the oracle's refunds to the treasury. Anyone may call.
    function sweep() external {
        _withdrawCredit(treasury);
    }

    /// @notice Sends what this contract has of a token, such as the evaluator's fee of an escrow, to the treasury. Anyone may call.
    function sweepToken(address token) external {
        (bool isRead, bytes memory said) =
            token.staticcall(abi.encodeWithSignature("balanceOf(address)", address(this)));
        uint256 amount = isRead && said.length == 32 ? abi.decode(said, (uint256)) : 0;
        (bool sent, bytes memory answer) =
            token.call(abi.encodeWithSignature("transfer(address,uint256)", treasury, amount));
        // Some tokens return nothing.
        if (!sent || (answer.length != 0 && !abi.decode(answer, (bool)))) revert TransferFailed(treasury, amount);
    }

    /// @notice What `show` must be sent for work of that length, in wei.
    function price(uint256 jobId, uint256 workBytes, uint64 callbackGasPriceWei) external view returns (uint256) {
        uint256 jobBytes = bytes(escrow.getJob(jobId).description).length;
        uint256 textBytes = QUESTION.length + jobBytes + BEFORE_WORK.length + workBytes;
        return _choicePrice(service, answerType, textBytes, _params(callbackGasPriceWei));
    }

    function judgementOf(uint256 jobId) external view returns (Judgement memory) {
        return _judgements[jobId];
    }

    /// @dev If nobody answered there is nothing to believe, and the work may be shown again.
    function _onVerdict(RequestId requestId, uint8 choice, uint32) internal override {
        uint256 jobId = _jobOf[requestId];
        bool isAnswered = oracle.statusOf(requestId) == IOracle.Status.Final;
        Stage stage = isAnswered ? Stage.Unsure : Stage.None;
        if (choice == YES) stage = Stage.Approved;
        if (choice == NO) stage = Stage.Refused;
        _judgements[jobId].stage = stage;
        emit Judged(jobId, stage);
    }

    /// @dev The job's description, if its work may be shown by the sender now.
    function _checked(uint256 jobId) private view returns (string memory) {
        IAgenticCommerce.Job memory job = escrow.getJob(jobId);
        if (job.evaluator != address(this) || job.status != IAgenticCommerce.JobStatus.Submitted) {
            revert NotEvaluable(jobId, job.evaluator, job.status);
        }
        if (msg.sender != job.provider) revert NotProvider(msg.sender);
        if (job.budget > mostBudget) revert BudgetTooLarge(job.budget, mostBudget);
        if (block.timestamp + settleSeconds > job.expiredAt) revert TooLate(jobId, job.expiredAt);
        return job.description;
    }

    function _text(string memory description, bytes calldata work) private pure returns (bytes memory) {
        return bytes.concat(QUESTION, bytes(description), BEFORE_WORK, work);
    }

    function _params(uint64 callbackGasPriceWei) private view returns (IOracle.Params memory) {
        return IOracle.Params({
            maxTokens: CHOICE_TOKENS,
            temperature: 0,
            cutoff: 0,
            callbackGas: CALLBACK_GAS,
            callbackGasPriceWei: callbackGasPriceWei,
            deadline: uint48(block.timestamp) + answerSeconds,
            valueFinney: valueFinney,
            isPrivate: false
        });
    }
}
