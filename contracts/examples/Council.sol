// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {OracleConsumer} from "../consumer/OracleConsumer.sol";
import {VerdictConsumer} from "../consumer/VerdictConsumer.sol";
import {RequestId, ServiceId} from "../interfaces/Ids.sol";
import {IOracle} from "../interfaces/IOracle.sol";

/// @title Several models, one verdict: asks each member's service the same question, and takes what a quorum says.
/// @notice If no quorum agrees with enough margin, a stronger service is asked; if that is not sure either, an arbiter says. No
/// single service's answers decide or prevent a decision: the constructor refuses weights by which they could. A member that is
/// silent is closed after its deadline, and passed over after `patienceSeconds`, whatever its request waits for.
/// @dev Warning: a member whose service takes no requests at all (too few owners are left in it, or the text is too long for it)
/// stops `ask`. Name services with more owners than they need.
contract Council is VerdictConsumer {
    /// @param answerType the council's choices, in its own tokens: `didyma type council` makes one for each model.
    /// @param minimumMargin below it the member has no opinion; 16 fraction bits. Margins of two models do not compare.
    /// @param weight 1 to 255; of the stronger service it is not looked at.
    struct Member {
        ServiceId service;
        bytes answerType;
        uint32 minimumMargin;
        uint8 weight;
    }

    /// @param quorum weight that decides: more than any one member's, and more than half of all.
    /// @param arbiter says what no service could.
    /// @param answerSeconds deadline of a request, counted from its posting; all services must allow it.
    /// @param patienceSeconds how long the members are waited for, and then the stronger service: more than `answerSeconds`, a
    /// window and a dispute take, or whoever delays an honest answer sends the question on.
    /// @param treasury gets what the oracle refunds for tokens not used.
    struct Rules {
        uint8 quorum;
        address arbiter;
        uint48 answerSeconds;
        uint48 patienceSeconds;
        address payable treasury;
    }

    /// @dev Who is to say; or the question is decided.
    enum Stage {
        None,
        Members,
        Stronger,
        Arbiter,
        Decided
    }

    /// @param choice what was decided, or 255: nothing yet, or unknown by the arbiter's word.
    /// @param outstanding weight of the members not heard yet.
    /// @param staleAt Unix time in seconds after which those who are to say have been waited for long enough.
    /// @param tally the weight behind each choice, a byte for each.
    struct State {
        Stage stage;
        uint8 choice;
        uint8 outstanding;
        uint48 staleAt;
        uint24 valueFinney;
        uint128 tally;
        bytes32 textHash;
    }

    /// @dev Of a type; and there is room for so many in a tally.
    uint8 private constant MOST_CHOICES = 16;

    /// @dev Enough for a verdict that decides.
    uint32 public constant CALLBACK_GAS = 50_000;

    uint8 public immutable quorum;
    uint8 public immutable choices;
    uint48 public immutable answerSeconds;
    uint48 public immutable patienceSeconds;
    address public immutable arbiter;
    address payable public immutable treasury;

    Member[] private _members;
    Member private _stronger;

    /// @notice How many questions were asked.
    uint256 public count;
    mapping(uint256 question => State) private _questions;

    event Asked(uint256 indexed question, address indexed asker, bytes text);
    event Requested(uint256 indexed question, ServiceId indexed service, RequestId indexed requestId);
    event Decided(uint256 indexed question, Stage by, uint8 choice);

    /// @notice Thrown for weights by which one member could decide, or prevent a decision, or two choices could win.
    /// @dev Choose at least three members, and weights and a quorum within these bounds.
    error BadQuorum(uint256 quorum, uint256 totalWeight, uint256 largestWeight);
    /// @notice Thrown when members are asked for another number of choices than the first.
    /// @dev Make all members' types from the same words: `didyma type council`.
    error ChoicesDiffer(uint256 expected, uint256 given);
    /// @notice Thrown when a question does not come with a price for each member.
    /// @dev Pass what `prices` says.
    error WrongPrices(uint256 expected, uint256 given);
    /// @notice Thrown when the ether sent is not the sum of the prices.
    /// @dev Send `expectedWei`.
    error WrongSum(uint256 expectedWei, uint256 givenWei);
    /// @notice Thrown when a service is named twice: it would decide alone.
    /// @dev Name another.
    error SameService(ServiceId service);
    /// @notice Thrown when the text is not the question's.
    /// @dev Pass the text of its `Asked` event.
    error WrongText(uint256 question);
    /// @notice Thrown when the members may still agree, or somebody has decided.
    /// @dev Read the question: its stage says who is to decide.
    error NotUndecided(uint256 question);
    /// @notice Thrown when anyone but the arbiter decides.
    /// @dev Send it from the arbiter's account.
    error NotArbiter(address caller);
    /// @notice Thrown when the arbiter names a choice that the question does not have.
    /// @dev Name one of its choices, or unknown.
    error NoSuchChoice(uint8 choice);

    /// @param members at least three.
    constructor(IOracle oracle_, Member[] memory members, Member memory stronger_, Rules memory rules)
        OracleConsumer(oracle_)
    {
        choices = _choicesOf(stronger_.answerType);
        if (choices > MOST_CHOICES) revert NotAChoice();
        uint256 total;
        uint256 largest;
        for (uint256 i; i < members.length; ++i) {
            uint8 given = _choicesOf(members[i].answerType);
            if (given != choices) revert ChoicesDiffer(choices, given);
            uint256 weight = members[i].weight;
            if (weight == 0) revert BadQuorum(rules.quorum, total, 0);
            total += weight;
            if (weight > largest) largest = weight;
            _checkOther(members[i].service, stronger_.service);
            for (uint256 j; j < i; ++j) {
                _checkOther(members[i].service, members[j].service);
            }
            _members.push(members[i]);
        }
        bool oneMayDecide = largest >= rules.quorum;
        bool oneMayPrevent = total < rules.quorum + largest;
        bool twoMayWin = total >= 2 * uint256(rules.quorum);
        if (oneMayDecide || oneMayPrevent || twoMayWin || total > type(uint8).max) {
            revert BadQuorum(rules.quorum, total, largest);
        }

        _stronger = stronger_;
        (quorum, arbiter, treasury) = (rules.quorum, rules.arbiter, rules.treasury);
        (answerSeconds, patienceSeconds) = (rules.answerSeconds, rules.patienceSeconds);
    }

    /// @notice Asks all members. Anyone may; send the sum of `pricesWei`.
    /// @param valueFinney what depends on the answer, in units of 10^15 wei.
    /// @param pricesWei what `prices` says.
    function ask(bytes calldata text, uint24 valueFinney, uint64 callbackGasPriceWei, uint256[] calldata pricesWei)
        external
        payable
        returns (uint256 question)
    {
        question = count++;
        uint8 outstanding = _askMembers(question, text, _params(callbackGasPriceWei, valueFinney), pricesWei);
        _questions[question] = State({
            stage: Stage.Members,
            choice: UNKNOWN,
            outstanding: outstanding,
            staleAt: uint48(block.timestamp) + patienceSeconds,
            valueFinney: valueFinney,
            tally: 0,
            textHash: keccak256(text)
        });
        emit Asked(question, msg.sender, text);
    }

    /// @notice Asks the stronger service, if the members can no longer agree or were waited for long enough. Anyone may pay for
    /// it; send what `strongerPrice` says.
    function escalate(uint256 question, bytes calldata text, uint64 callbackGasPriceWei) external payable {
        State storage state = _questions[question];
        bool mayAgree = block.timestamp <= state.staleAt && _mayAgree(state);
        if (state.stage != Stage.Members || mayAgree) revert NotUndecided(question);
        if (keccak256(text) != state.textHash) revert WrongText(question);

        state.stage = Stage.Stronger;
        state.staleAt = uint48(block.timestamp) + patienceSeconds;
        _request(question << 8, _stronger, text, _params(callbackGasPriceWei, state.valueFinney), msg.value);
    }

    /// @notice Decides what no service could. Only the arbiter: once the stronger service is not sure, or after a second
    /// patience if it was never asked or does not answer.
    /// @param choice index of a choice, or 255: unknown.
    function rule(uint256 question, uint8 choice) external {
        if (msg.sender != arbiter) revert NotArbiter(msg.sender);
        if (choice >= choices && choice != UNKNOWN) revert NoSuchChoice(choice);
        State storage state = _questions[question];
        bool isOver = state.stage == Stage.None || state.stage == Stage.Decided;
        bool isStale = block.timestamp > uint256(state.staleAt) + patienceSeconds;
        if (isOver || (state.stage != Stage.Arbiter && !isStale)) revert NotUndecided(question);

        _decide(question, state, Stage.Arbiter, choice);
    }

    /// @notice Sends the oracle's refunds to the treasury. Anyone may call.
    function sweep() external {
        _withdrawCredit(treasury);
    }

    /// @notice What `ask` must be sent for each member, in wei.
    function prices(uint256 textBytes, uint64 callbackGasPriceWei) external view returns (uint256[] memory pricesWei) {
        pricesWei = new uint256[](_members.length);
        for (uint256 i; i < pricesWei.length; ++i) {
            pricesWei[i] = _priceOf(_members[i], textBytes, callbackGasPriceWei);
        }
    }

    /// @notice What `escalate` must be sent, in wei.
    function strongerPrice(uint256 textBytes, uint64 callbackGasPriceWei) external view returns (uint256) {
        return _priceOf(_stronger, textBytes, callbackGasPriceWei);
    }

    function stateOf(uint256 question) external view returns (State memory) {
        return _questions[question];
    }

    /// @dev Whoever is not to say any more changes nothing: a member after the stronger service was asked, or anyone after the
    /// decision.
    function _onVerdict(RequestId requestId, uint8 choice, uint32) internal override {
        uint256 note = _noteOf(requestId);
        (uint256 question, uint8 weight) = (note >> 8, uint8(note));
        State storage state = _questions[question];
        if (weight == 0) {
            if (state.stage != Stage.Stronger) return;
            if (choice == UNKNOWN) state.stage = Stage.Arbiter;
            else _decide(question, state, Stage.Stronger, choice);
        } else if (state.stage == Stage.Members) {
            state.outstanding -= weight;
            if (choice == UNKNOWN) return;
            uint128 tally = state.tally + (uint128(weight) << 8 * choice);
            state.tally = tally;
            if (uint8(tally >> 8 * choice) >= quorum) _decide(question, state, Stage.Members, choice);
        }
    }

    function _decide(uint256 question, State storage state, Stage by, uint8 choice) private {
        (state.stage, state.choice) = (Stage.Decided, choice);
        emit Decided(question, by, choice);
    }

    /// @return outstanding the weight of all.
    function _askMembers(
        uint256 question,
        bytes calldata text,
        IOracle.Params memory params,
        uint256[] calldata pricesWei
    ) private returns (uint8 outstanding) {
        _checkPrices(pricesWei);
        for (uint256 i; i < pricesWei.length; ++i) {
            Member storage member = _members[i];
            uint8 weight = member.weight;
            outstanding += weight;
            _request(question << 8 | weight, member, text, params, pricesWei[i]);
        }
    }

    /// @dev Before anything is sent: ether that the council may hold pays for nobody's question.
    function _checkPrices(uint256[] calldata pricesWei) private view {
        if (pricesWei.length != _members.length) {
            revert WrongPrices(_members.length, pricesWei.length);
        }
        uint256 sumWei;
        for (uint256 i; i < pricesWei.length; ++i) {
            sumWei += pricesWei[i];
        }
        if (sumWei != msg.value) revert WrongSum(sumWei, msg.value);
    }

    function _checkOther(ServiceId one, ServiceId other) private pure {
        if (ServiceId.unwrap(one) == ServiceId.unwrap(other)) revert SameService(one);
    }

    /// @dev The oracle is trusted, and its callback comes in a later transaction.
    /// @param note question (above the lowest 8 bits) and weight (8; of the stronger service 0).
    function _request(
        uint256 note,
        Member storage member,
        bytes calldata text,
        IOracle.Params memory params,
        uint256 priceWei
    ) private {
        ServiceId service = member.service;
        RequestId requestId = _askChoice(service, member.answerType, text, member.minimumMargin, params, priceWei);
        _note(requestId, uint112(note));
        emit Requested(note >> 8, service, requestId);
    }

    /// @dev Whether those not heard yet could still lift a choice to the quorum.
    function _mayAgree(State storage state) private view returns (bool) {
        (uint256 tally, uint256 outstanding) = (state.tally, state.outstanding);
        for (; tally != 0; tally >>= 8) {
            if (uint8(tally) + outstanding >= quorum) return true;
        }
        return outstanding >= quorum;
    }

    function _priceOf(Member storage member, uint256 textBytes, uint64 callbackGasPriceWei)
        private
        view
        returns (uint256)
    {
        return _choicePrice(member.service, member.answerType, textBytes, _params(callbackGasPriceWei, 0));
    }

    function _params(uint64 callbackGasPriceWei, uint24 valueFinney) private view returns (IOracle.Params memory) {
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
