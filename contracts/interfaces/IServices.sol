// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IArbiter} from "./IArbiter.sol";
import {ModelId, ServiceId} from "./Types.sol";

/// @title Services: offers to answer for one model; and seats: the staked operators who may answer.
/// @notice Anyone may create a service, and anyone may take a seat in it. A service never changes: other terms are
/// another service. Each seat is one share of the turns; an owner may hold several.
///
/// A seat is drawn from the moment it is taken, but may act only once `activate` succeeded: the delay is longer than
/// any pending request can live, so nobody can pick a seat to catch a request whose draw is already known.
interface IServices {
    /// @notice What a service promises and asks. Amounts in wei, times in seconds.
    /// @param model the model that answers.
    /// @param arbiter settles disputes about answers of this service.
    /// @param arbiterTerms parameters for the arbiter, in its own ABI encoding.
    /// @param attester an `IAttester`, which vouches for answers that are final at once; zero for none.
    /// @param attesterTerms parameters for the attester, in its own ABI encoding.
    /// @param bondWei locked from a seat's balance while its answer can be disputed.
    /// @param seatWei least balance to take a seat and to keep while in it.
    /// @param missPenaltyWei taken from a seat that lets its turn pass, and burnt: paid to anyone, it would reward
    /// requests beyond what the seats can answer.
    /// @param basePriceWei price of any answer.
    /// @param bytePriceWei price of each prompt byte.
    /// @param tokenPriceWei price of each output token, the end token included.
    /// @param maxPromptBytes longest prompt.
    /// @param maxTokens most output tokens a request may ask for.
    /// @param turnSeconds how long one seat is entitled to answer.
    /// @param windowSeconds the challenge window.
    /// @param lifetimeSeconds latest deadline of a request, counted from its posting; at most `MAX_LIFETIME`.
    /// @param minOwners requests are refused while fewer distinct owners hold active seats.
    /// @param valueCapWei the most that should be at stake on one answer, by the creator's reckoning: for consumers to read, and
    /// for the attester to hold answers to that are final at once.
    struct Terms {
        ModelId model;
        IArbiter arbiter;
        bytes arbiterTerms;
        address attester;
        bytes attesterTerms;
        uint72 bondWei;
        uint72 seatWei;
        uint72 missPenaltyWei;
        uint64 basePriceWei;
        uint64 bytePriceWei;
        uint64 tokenPriceWei;
        uint32 maxPromptBytes;
        uint24 maxTokens;
        uint24 turnSeconds;
        uint24 windowSeconds;
        uint24 lifetimeSeconds;
        uint16 minOwners;
        uint128 valueCapWei;
    }

    enum SeatStatus {
        Empty,
        Joining,
        Active,
        Leaving
    }

    /// @param owner takes the seat's money out; meant to be a cold key.
    /// @param operator answers and votes; a hot key that can never withdraw.
    /// @param balanceWei free balance: what is not locked in bonds.
    /// @param locks open answers and panel duties; the seat cannot be given up while any is left.
    /// @param readyAt Unix time in seconds: from which `activate` succeeds when joining, at which the seat became active
    /// when active, from which `exit` succeeds when leaving.
    struct Seat {
        address owner;
        address operator;
        uint72 balanceWei;
        uint16 locks;
        SeatStatus status;
        uint48 readyAt;
    }

    event ServiceCreated(ServiceId indexed service, ModelId indexed model, address indexed creator, Terms terms);
    event SeatTaken(
        ServiceId indexed service, uint16 indexed seat, address indexed owner, address operator, uint48 readyAt
    );
    event SeatActivated(ServiceId indexed service, uint16 indexed seat);
    event SeatLeaving(ServiceId indexed service, uint16 indexed seat, uint48 readyAt);
    event SeatLeft(ServiceId indexed service, uint16 indexed seat, uint256 balanceWei);
    event OperatorChanged(ServiceId indexed service, uint16 indexed seat, address operator);
    event SeatToppedUp(ServiceId indexed service, uint16 indexed seat, address indexed from, uint256 amountWei);
    event SeatWithdrawn(ServiceId indexed service, uint16 indexed seat, uint256 amountWei);
    /// @notice A seat was fined by its service's arbiter.
    event SeatFined(ServiceId indexed service, uint16 indexed seat, uint256 amountWei);

    error UnknownService(ServiceId service);
    error ServiceExists(ServiceId service);
    error UnknownModel(ModelId model);
    /// @notice Thrown when terms could never work; `reason` says which and why.
    error BadTerms(string reason);
    error ServiceFull(ServiceId service);
    error NotSeatOwner(ServiceId service, uint16 seat, address owner);
    error NotArbiter(ServiceId service, address arbiter);
    error WrongSeatStatus(ServiceId service, uint16 seat, SeatStatus status);
    error DepositTooSmall(uint256 leastWei, uint256 givenWei);
    error NotReadyYet(uint48 readyAt);
    /// @notice Thrown when a seat with open answers or panel duties is given up.
    error SeatLocked(ServiceId service, uint16 seat, uint16 locks);
    error InsufficientSeatBalance(ServiceId service, uint16 seat, uint256 balanceWei, uint256 neededWei);

    /// @notice Creates a service. Its id is the hash of its terms.
    /// @dev Calls `adopt` of arbiter and attester, which refuse terms that they cannot judge by.
    function createService(Terms calldata terms) external returns (ServiceId service);

    /// @notice Takes a seat: the lowest free index that was given up last, or a new one.
    /// @dev The ether sent becomes the seat's balance and must be at least `seatWei`.
    function join(ServiceId service, address operator) external payable returns (uint16 seat);

    /// @notice Lets a joining seat act once its delay is over. Anyone may call.
    function activate(ServiceId service, uint16 seat) external;

    /// @notice Announces that the owner gives up an active seat. Until `exit` it may still act, and still serves on panels.
    function announceExit(ServiceId service, uint16 seat) external;

    /// @notice Gives up the seat; its balance becomes its owner's credit.
    function exit(ServiceId service, uint16 seat) external;

    /// @notice Adds the ether sent to the seat's balance. Anyone may call.
    function topUp(ServiceId service, uint16 seat) external payable;

    /// @notice Turns `amountWei` of the seat's balance into its owner's credit; at least `seatWei` must stay.
    function withdrawFromSeat(ServiceId service, uint16 seat, uint72 amountWei) external;

    /// @notice Replaces the seat's hot key.
    function setOperator(ServiceId service, uint16 seat, address operator) external;

    /// @notice Keeps a seat from being given up while it has a panel duty. Only the service's arbiter.
    function lockSeat(ServiceId service, uint16 seat) external;

    /// @notice Ends a panel duty, and burns `fineWei` of the seat's balance (or what is left of it).
    /// Only the service's arbiter.
    function unlockSeat(ServiceId service, uint16 seat, uint72 fineWei) external;

    /// @notice One seat; all zero if nobody holds it.
    function seatOf(ServiceId service, uint16 seat) external view returns (Seat memory);

    function operatorOf(ServiceId service, uint16 seat) external view returns (address);

    /// @notice Seats ever taken: draws go over [0, seatCount).
    /// @return seatCount seats, held or not.
    /// @return ownerCount distinct owners of active seats.
    function counts(ServiceId service) external view returns (uint16 seatCount, uint16 ownerCount);

    /// @notice The service's arbiter; zero if the service does not exist.
    function arbiterOf(ServiceId service) external view returns (IArbiter);

    /// @notice The service's attester; zero if it has none.
    function attesterOf(ServiceId service) external view returns (address);
}
