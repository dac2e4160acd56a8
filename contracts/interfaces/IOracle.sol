// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ICredits} from "./ICredits.sol";
import {RequestId, ServiceId} from "./Ids.sol";
import {IServices} from "./IServices.sol";

/// @title The oracle: request, answer, challenge window, finalize.
/// @notice A request takes one storage slot: its status, and a hash of the answer once there is one. Its id is the hash of
/// all its fields, so later calls pass it back in calldata and nobody can change it. Prompts and outputs are
/// in events and calldata, never in storage.
///
/// Life of a request: Open -> Answered -> Final, with Disputed between when somebody challenges; a rejected answer leads
/// back to Open and the next turn; Open ends in Refunded when the deadline passes, or in Cancelled.
///
/// Turns: from the block hash that also fixes the sampling seed, each turn has exactly one entitled seat. A turn lasts
/// `turnSeconds`; then the next seat is entitled and the one that let it pass pays a small penalty.
interface IOracle is IServices, ICredits {
    /* TYPES */

    /// @param maxTokens most output tokens, the end token included.
    /// @param temperature fixed point, 16 fraction bits; 0 is greedy.
    /// @param cutoff fixed point, 16 fraction bits: tokens with a logit further below the best are never sampled; 0: none.
    /// @param callbackGas gas that `onAnswer` of the caller gets, exactly; 0 for no callback.
    /// @param callbackGasPriceWei what the caller pays for each unit of it, and for `CALLBACK_OVERHEAD_GAS`, to whoever
    /// finalizes.
    /// @param deadline Unix time in seconds: the last moment at which an answer may be posted.
    /// @param valueFinney the value at stake, by the caller's word, in units of 10^15 wei: an attested answer is
    /// final at once only up to the service's cap.
    /// @param isPrivate the prompt is sealed to keys inside TEEs. Only an attested answer that is final at once counts,
    /// because nobody else could check it; and seats that let their turns pass are not fined.
    struct Params {
        uint24 maxTokens;
        uint32 temperature;
        uint32 cutoff;
        uint32 callbackGas;
        uint64 callbackGasPriceWei;
        uint48 deadline;
        uint24 valueFinney;
        bool isPrivate;
    }

    /// @notice What never changes about a request; the terms it was made under are copied in. Its hash is its id.
    /// @param promptHash keccak256 of the prompt bytes.
    /// @param head payer (160 bits: gets refunds and the callback), deadline (48), blockNumber (48: of the request; the
    /// seed and the turns follow from block `blockNumber + SEED_DELAY`).
    /// @param rules maxTokens (24), temperature (32), cutoff (32), callbackGas (32), callbackGasPriceWei (64),
    /// turnSeconds (24), windowSeconds (24), seatCount (16: the draws go over places [0, seatCount)), isPrivate (1).
    /// @param money feeWei (96: base, prompt bytes and `maxTokens` tokens), tokenPriceWei (64), bondWei (72),
    /// valueFinney (24).
    /// Fields are packed from the lowest bit up; see `RequestLib`, and `ILens.unpackRequest` to read them apart.
    struct Request {
        ServiceId service;
        bytes32 promptHash;
        uint256 head;
        uint256 rules;
        uint256 money;
    }

    /// @notice Where the turns stand. A fresh request is in round (0, its block's timestamp); each answer that dies
    /// starts another.
    struct Round {
        uint32 firstTurn;
        uint48 startsAt;
    }

    /// @param head turn (32 bits) at which it was given, seat (16) that gave it, closesAt (48: Unix time in seconds, the
    /// last moment at which a challenge may open), tokenCount (24: the end token included; the payer is charged for
    /// these). Packed from the lowest bit up.
    /// @param outputHash keccak256 of the output bytes.
    /// @param tokensRoot Merkle root of the token ids, the end token included.
    /// @param seedBlockHash hash of block `blockNumber + SEED_DELAY`.
    struct Answer {
        uint256 head;
        bytes32 outputHash;
        bytes32 tokensRoot;
        bytes32 seedBlockHash;
    }

    /// @notice What `finalize` needs of one request.
    struct Item {
        Request request;
        Answer answer;
        bytes output;
    }

    /// @notice Ether to credit when a dispute ends.
    struct Payout {
        address account;
        uint96 amountWei;
    }

    /// @dev Undelivered: final, but the callback failed or was left, and may be retried; `callbackLeft` says which.
    enum Status {
        None,
        Open,
        Answered,
        Disputed,
        Final,
        Undelivered,
        Refunded,
        Cancelled
    }

    /// @dev Annulled: favours nobody (a tied panel).
    enum Ruling {
        Upheld,
        Rejected,
        Annulled
    }

    /* EVENTS */

    /// @notice A request was made in round (0, this block's timestamp).
    event RequestPosted(
        RequestId indexed requestId, ServiceId indexed service, address indexed payer, Request request, bytes prompt
    );
    event AnswerPosted(RequestId indexed requestId, address indexed operator, Answer answer, bytes output);
    /// @notice The answer just posted was signed by an attested key; RequestFinalized follows if it is final at once.
    event AnswerAttested(RequestId indexed requestId, address indexed signer);
    /// @param penaltyWei the seat's fine. As much again is burnt out of the payer's refund, or out of the balance of the seat
    /// that answers in the same transaction.
    event TurnMissed(RequestId indexed requestId, uint32 turn, uint16 seat, uint256 penaltyWei);
    event AnswerDisputed(RequestId indexed requestId, uint32 turn);
    /// @param slashedWei taken from the answer's bond. @param next the round that follows; all zero if upheld.
    event AnswerRuled(RequestId indexed requestId, uint32 turn, Ruling ruling, uint256 slashedWei, Round next);
    /// @param finalizer got the price of the callback's gas. @param paidWei to the seat that answered, beside its bond.
    event RequestFinalized(RequestId indexed requestId, address indexed finalizer, uint256 paidWei);
    /// @notice The callback reverted or had no code to run; `retryCallback` may repeat it.
    event CallbackFailed(RequestId indexed requestId);
    event CallbackRetried(RequestId indexed requestId, address indexed by);
    /// @notice The answering seat's operator did not make the callback. @param bountyWei for whoever makes it.
    event CallbackLeft(RequestId indexed requestId, uint256 bountyWei);
    /// @notice Nobody made a callback that was left: the payer has its price back.
    event CallbackReclaimed(RequestId indexed requestId, uint256 bountyWei);
    event RequestRefunded(RequestId indexed requestId, uint256 refundWei);
    event RequestCancelled(RequestId indexed requestId, uint256 refundWei);

    /* ERRORS */

    /// @notice Thrown when a prompt has no bytes.
    /// @dev Ask something.
    error EmptyPrompt();
    /// @notice Thrown when a prompt is longer than the service takes.
    /// @dev Shorten it, or ask a service with a larger `maxPromptBytes`.
    error PromptTooLong(uint256 lengthBytes, uint256 mostBytes);
    /// @notice Thrown when a request asks for no token, or for more than the service gives.
    /// @dev Ask for 1 to `most` tokens.
    error TokensOutOfRange(uint256 tokens, uint256 most);
    /// @notice Thrown when the ether sent is not what `quote` says, to the wei.
    /// @dev Call `quote` in the same transaction, and send what it says.
    error WrongFee(uint256 expectedWei, uint256 givenWei);
    /// @notice Thrown when a deadline has passed, or lies beyond the service's lifetime.
    /// @dev Choose one within the bounds given, counted from the block of the request.
    error DeadlineOutOfRange(uint48 deadline, uint256 earliest, uint256 latest);
    /// @notice Thrown when a callback is asked for by an account without code.
    /// @dev Set `callbackGas` to 0, or ask from a contract whose constructor has ended.
    error CallbackTargetWithoutCode(address target);
    /// @notice Thrown when a callback may not use so much gas.
    /// @dev Do less in the callback: store the answer, and work in a transaction of your own.
    error CallbackGasTooHigh(uint256 gas, uint256 most);
    /// @notice Thrown when the service has too few independent owners to judge a dispute.
    /// @dev Ask another service, or wait until more owners have seats.
    error NotEnoughOwners(ServiceId service, uint16 owners, uint16 needed);
    /// @notice Thrown when a payer makes the same request twice in one block. With another deadline it is another
    /// request.
    /// @dev Wait a block, or change the deadline by a second.
    error DuplicateRequest(RequestId requestId);
    /// @notice Thrown when the answer given is not the one that stands.
    /// @dev Pass the answer as its `AnswerPosted` event has it; `didyma request show` prints it.
    error AnswerMismatch(RequestId requestId);
    /// @notice Thrown when a request is not in the status that a call needs; None: no such request was made.
    /// @dev Read `statusOf`; another call may have been first.
    error WrongStatus(RequestId requestId, Status status);
    /// @notice Thrown when an output is so long that a transaction might not hold it together with its callback.
    /// @dev No honest answer is so long: an output ends where it is full.
    error OutputTooLong(uint256 outputBytes, uint256 mostBytes);
    /// @notice Thrown when an answer comes after the request's deadline.
    /// @dev Nothing is to be done: anyone may have the request refunded.
    error DeadlinePassed(RequestId requestId, uint256 deadline);
    /// @notice Thrown when a request is to be refunded whose deadline lies ahead.
    /// @dev Call again after `deadline`.
    error DeadlineNotPassed(RequestId requestId, uint256 deadline);
    /// @notice Thrown when an answer was computed on another fork, or too early, or too late for the chain to remember.
    /// @dev Compute the answer again, with the seed of the chain as it is now.
    error SeedMismatch(RequestId requestId, bytes32 expected, bytes32 given);
    /// @notice Thrown when the sender does not operate the seat whose turn it is.
    /// @dev Wait for your turn: `Lens` says whose it is.
    error NotYourTurn(RequestId requestId, uint32 turn, uint16 seat, address operator);
    /// @notice Thrown unless the answer to a private prompt is attested and final at once, and when a private prompt is
    /// sent to a service without an attester.
    /// @dev Ask a service with an attester, with a value that its cap allows.
    error PrivateNeedsAttestation(ServiceId service);
    /// @notice Thrown when an attested answer is posted to a service that has no attester.
    /// @dev Post it as an answer under a bond.
    error NoAttester(ServiceId service);
    /// @notice Thrown when anyone but the payer cancels a request.
    /// @dev Send it from the account that asked.
    error NotPayer(RequestId requestId, address payer);
    /// @notice Thrown when no item of a batch could be finalized: wrong state, wrong calldata, or window still open.
    /// @dev Look at each item with `statusOf` and its window's end.
    error NothingToFinalize();
    /// @notice Thrown when a repeated callback failed again; nothing changed.
    /// @dev Find out why the consumer reverts; `retryCallback` can be called again, with more gas.
    error CallbackReverted(RequestId requestId);
    /// @notice Thrown when a dispute is opened after the challenge window.
    /// @dev Nothing can be done about this answer; the watcher was late.
    error WindowClosed(RequestId requestId, uint256 closesAt);
    /// @notice Thrown when a callback is repeated after its last day.
    /// @dev Read the answer from its event; the callback is gone.
    error RetryClosed(RequestId requestId, uint256 closedAt);
    /// @notice Thrown when a bounty is reclaimed while somebody may still deliver for it.
    /// @dev Call again after `closesAt`.
    error RetryOpen(RequestId requestId, uint256 closesAt);
    /// @notice Thrown when no callback was left, or its bounty is gone.
    /// @dev Nothing is to be done.
    error NothingToReclaim(RequestId requestId);
    /// @notice Thrown when anybody but the operator of the seat that answered leaves a callback.
    /// @dev Send it from the operator's key of the seat that answered.
    error NotAnswerer(RequestId requestId, address operator);
    /// @notice Thrown when too little gas is left to give a callback what was bought; nothing changed.
    /// @dev Send the transaction with more gas.
    error InsufficientGas(uint256 gasLeft, uint256 needed);
    /// @notice Thrown when an arbiter would pay out more than it was given and half of what it slashed: the rest is
    /// burnt.
    /// @dev The arbiter is at fault: do not use services that it judges.
    error PayoutsTooLarge(uint256 payoutsWei, uint256 mostWei);
    /// @notice Thrown when an arbiter would slash more than the answer's bond.
    /// @dev The arbiter is at fault: do not use services that it judges.
    error SlashTooLarge(uint256 slashWei, uint256 bondWei);

    /* REQUESTER */

    /// @notice Asks `service` to continue `prompt`, and escrows exactly what `quote` says.
    /// @dev If `params.callbackGas` is not zero the caller must be a contract and gets `onAnswer`.
    function request(ServiceId service, bytes calldata prompt, Params calldata params)
        external
        payable
        returns (RequestId requestId);

    /// @notice Takes an unanswered request back. It is free until the seed's block exists, because no node can have worked on
    /// it. Afterwards the base price and the price of the prompt's bytes go to the seat whose turn it is, so that a payer who
    /// has seen an answer in the mempool cannot cancel for free.
    function cancel(Request calldata req) external;

    /// @notice Refunds a request whose deadline passed unanswered. Anyone may call. The seats that let their turns pass are
    /// fined, by at most the forfeit that `quote` shows. The payer gets the escrow, less an amount equal to the fines.
    function refund(Request calldata req) external;

    /* NODE */

    /// @notice Posts `output` as the answer and locks the seat's bond for the challenge window.
    /// @dev Warning: an answer cannot be withdrawn. At most `MAX_OUTPUT_BYTES` of output. Reverts unless it is the caller's
    /// turn and block `blockNumber + SEED_DELAY` has hash `seedBlockHash`.
    function answer(
        Request calldata req,
        bytes calldata output,
        uint24 tokenCount,
        bytes32 tokensRoot,
        bytes32 seedBlockHash
    ) external;

    /// @notice Posts an answer that the service's attester vouches for. If the attester allows it, the answer is final at
    /// once: it is paid and called back as by `finalize`, and its bond is free again. Otherwise it has a challenge
    /// window like any other.
    /// @dev As `answer`. Reverts, too, when the attester rejects `attestation`.
    /// @param leavesCallback as in `leaveCallbacks`, if the answer is final at once.
    function answerAttested(
        Request calldata req,
        bytes calldata output,
        uint24 tokenCount,
        bytes32 tokensRoot,
        bytes32 seedBlockHash,
        bytes calldata attestation,
        bool leavesCallback
    ) external;

    /// @notice Closes requests whose window passed: pays the node for the tokens really produced, refunds the rest,
    /// releases the bond, calls the payer back and pays the caller for the callback's gas. Anyone may call.
    /// @dev Items that are not ready are skipped; a lack of gas reverts, and so does a batch without any ready item.
    /// @return finalized how many were closed.
    function finalize(Item[] calldata items) external returns (uint256 finalized);

    /// @notice Closes requests as `finalize` does, but leaves their callbacks to others, so that a callback priced below its
    /// gas cannot keep a node from its bond. The price of each callback becomes a bounty for whoever makes it by
    /// `retryCallback`.
    /// @dev Only the operator of the seats that answered, at the latest `RETRY_SECONDS / 2` before retrying ends.
    function leaveCallbacks(Item[] calldata items) external returns (uint256 finalized);

    /// @notice Repeats a callback that failed, or makes one that was left, with at least the gas that was bought. The caller
    /// pays for the gas, and gets the bounty of a callback that was left. Anyone may call, until `RETRY_SECONDS` after the
    /// window and the service's leave time, which is longer than any dispute.
    function retryCallback(Item calldata item, uint256 callbackGas) external;

    /// @notice Gives the payer back the price of a callback that was left and that nobody made. Anyone may call, once it can
    /// no longer be made.
    function reclaim(Request calldata req, Answer calldata ans) external;

    /* ARBITER */

    /// @notice Marks an answer as disputed, so that it cannot be finalized. Only the service's arbiter, in the window.
    function dispute(Request calldata req, Answer calldata ans) external;

    /// @notice Ends a dispute. Takes `slashWei` of the bond, adds the ether sent along, credits `payouts`, burns the rest.
    /// @dev Only the service's arbiter. Payouts from a rejected answer's bond are at most half of it.
    function rule(Request calldata req, Answer calldata ans, Ruling ruling, uint72 slashWei, Payout[] calldata payouts)
        external
        payable;

    /* VIEWS */

    /// @notice What `request` must be sent, in wei.
    /// @return feeWei for the answer at most.
    /// @return callbackWei for the callback's gas.
    /// @return forfeitWei part of `feeWei`: the most that is not refunded if nobody answers.
    function quote(ServiceId service, uint256 promptBytes, Params calldata params)
        external
        view
        returns (uint256 feeWei, uint256 callbackWei, uint256 forfeitWei);

    function statusOf(RequestId requestId) external view returns (Status);

    /// @notice The word kept of a request, which `RequestLib` reads: its status; while open its round; once answered the
    /// answer's hash. For lenses.
    function stateOf(RequestId requestId) external view returns (uint256);

    /// @notice Whether an undelivered callback was left by the answerer; else it was tried and failed.
    function callbackLeft(RequestId requestId) external view returns (bool);

    /// @notice Whether `ans` is the final answer: for contracts that act on an answer later.
    function isFinal(RequestId requestId, Answer calldata ans) external view returns (bool);
}
