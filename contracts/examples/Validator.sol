// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {OracleConsumer} from "../consumer/OracleConsumer.sol";
import {VerdictConsumer} from "../consumer/VerdictConsumer.sol";
import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";
import {IValidationRegistry} from "../interfaces/IValidationRegistry.sol";

/// @title A validator of agents' work: the model grades it, and the validation registry hears 0 to 100.
/// @notice An adapter to ERC-8004, "Trustless Agents" (a draft). An agent's owner names this contract in the registry's
/// `validationRequest`, with the keccak256 of the text to be judged as `requestHash`. Then anyone may ask the oracle with that text, and
/// have the registry told. Of a verdict that is not sure the registry hears nothing: an invented grade would be in its averages.
/// Warning: an agent's owner chooses the text, and may write it for the model. A high margin does not make it honest.
contract Validator is VerdictConsumer {
    enum Stage {
        None,
        Asked,
        Graded,
        Unsure,
        Responded
    }

    /// @param grade 0 to 100, once graded.
    struct Validation {
        Stage stage;
        uint8 grade;
        RequestId requestId;
    }

    /// @dev What stands before the text.
    bytes public constant QUESTION = "How well is the task below done? Answer with one word.\n\n";

    /// @dev What the registry files responses under.
    string public constant TAG = "didyma";

    uint8 public constant BEST_GRADE = 100;

    /// @dev A verdict is only remembered; the registry, which others may change, is called in `respond`.
    uint32 public constant CALLBACK_GAS = 70_000;

    ServiceId public immutable service;
    IValidationRegistry public immutable registry;
    uint32 public immutable minimumMargin;
    uint48 public immutable answerSeconds;

    /// @dev Gets what the oracle refunds for tokens not used.
    address payable public immutable treasury;

    /// @dev The words for the grades, in the service's tokens.
    bytes public answerType;

    /// @notice The grade of each choice, a byte each.
    bytes public grades;

    mapping(bytes32 requestHash => Validation) private _validations;
    mapping(RequestId requestId => bytes32) private _hashOf;

    event Asked(bytes32 indexed requestHash, RequestId indexed requestId);
    event Graded(bytes32 indexed requestHash, Stage stage, uint8 grade);

    /// @notice Thrown when there is not one grade from 0 to 100 for each choice.
    /// @dev Pass a byte for each word, in the order of the words.
    error BadGrades(uint256 choices, bytes grades);
    /// @notice Thrown when the registry was not told to ask this contract.
    /// @dev The agent's owner calls the registry's `validationRequest` with this contract's address.
    error NotAsked(bytes32 requestHash, address validator);
    /// @notice Thrown when work was judged before, or its verdict is awaited.
    /// @dev There is one verdict of each request. Only if nobody answered may it be asked again.
    error AlreadyAsked(bytes32 requestHash, Stage stage);
    /// @notice Thrown when there is no grade that the registry has not heard.
    /// @dev Wait for a verdict. If the model was not sure, the registry hears nothing.
    error NothingToSay(bytes32 requestHash, Stage stage);

    /// @param answerType_ of `didyma type choice well partly badly`, say, for the service's model.
    /// @param grades_ the same number of bytes, such as 0x643200.
    constructor(
        IOracle oracle_,
        ServiceId service_,
        bytes memory answerType_,
        bytes memory grades_,
        uint32 minimumMargin_,
        uint48 answerSeconds_,
        IValidationRegistry registry_,
        address payable treasury_
    ) OracleConsumer(oracle_) {
        uint256 choices = _choicesOf(answerType_);
        if (grades_.length != choices) revert BadGrades(choices, grades_);
        for (uint256 i; i < choices; ++i) {
            if (uint8(grades_[i]) > BEST_GRADE) revert BadGrades(choices, grades_);
        }
        service = service_;
        answerType = answerType_;
        grades = grades_;
        minimumMargin = minimumMargin_;
        answerSeconds = answerSeconds_;
        registry = registry_;
        treasury = treasury_;
    }

    /// @notice Has a text judged for which the registry was told to ask this contract. Anyone may; send what `price` says.
    function ask(bytes calldata text, uint64 callbackGasPriceWei) external payable returns (RequestId requestId) {
        bytes32 requestHash = keccak256(text);
        (address validator,,,,,) = registry.getValidationStatus(requestHash);
        if (validator != address(this)) revert NotAsked(requestHash, validator);
        Validation storage validation = _validations[requestHash];
        if (validation.stage != Stage.None) revert AlreadyAsked(requestHash, validation.stage);

        validation.stage = Stage.Asked;
        // The oracle is trusted, and its callback comes in a later transaction.
        // slither-disable-next-line reentrancy-eth,reentrancy-no-eth,reentrancy-benign
        requestId = _askChoice(
            service, answerType, bytes.concat(QUESTION, text), minimumMargin, _params(callbackGasPriceWei), msg.value
        );
        validation.requestId = requestId;
        _hashOf[requestId] = requestHash;
        emit Asked(requestHash, requestId);
    }

    /// @notice Tells the registry the grade, once. Anyone may call. The evidence that it names is the oracle's request: `didyma
    /// verify` computes its answer again.
    function respond(bytes32 requestHash) external {
        Validation storage validation = _validations[requestHash];
        if (validation.stage != Stage.Graded) revert NothingToSay(requestHash, validation.stage);

        validation.stage = Stage.Responded;
        bytes32 evidence = bytes32(RequestId.unwrap(validation.requestId));
        registry.validationResponse(requestHash, validation.grade, "", evidence, TAG);
    }

    /// @notice Sends the oracle's refunds to the treasury. Anyone may call.
    function sweep() external {
        _withdrawCredit(treasury);
    }

    /// @notice What `ask` must be sent for a text of that length, in wei.
    function price(uint256 textBytes, uint64 callbackGasPriceWei) external view returns (uint256) {
        return _choicePrice(service, answerType, QUESTION.length + textBytes, _params(callbackGasPriceWei));
    }

    function validationOf(bytes32 requestHash) external view returns (Validation memory) {
        return _validations[requestHash];
    }

    /// @dev If nobody answered there is nothing to believe, and it may be asked again: whoever asked may have wanted no answer.
    function _onVerdict(RequestId requestId, uint8 choice, uint32) internal override {
        bytes32 requestHash = _hashOf[requestId];
        Validation storage validation = _validations[requestHash];
        if (choice != UNKNOWN) {
            (validation.stage, validation.grade) = (Stage.Graded, uint8(grades[choice]));
        } else {
            bool isAnswered = oracle.statusOf(requestId) == IOracle.Status.Final;
            validation.stage = isAnswered ? Stage.Unsure : Stage.None;
        }
        emit Graded(requestHash, validation.stage, validation.grade);
    }

    /// @dev No value is at stake here; whoever acts on a grade must know what the service's answers are worth.
    function _params(uint64 callbackGasPriceWei) private view returns (IOracle.Params memory) {
        return IOracle.Params({
            maxTokens: CHOICE_TOKENS,
            temperature: 0,
            cutoff: 0,
            callbackGas: CALLBACK_GAS,
            callbackGasPriceWei: callbackGasPriceWei,
            deadline: uint48(block.timestamp) + answerSeconds,
            valueFinney: 0,
            isPrivate: false
        });
    }
}
