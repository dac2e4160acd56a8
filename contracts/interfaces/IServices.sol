// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IArbiter} from "./IArbiter.sol";
import {ModelId, ServiceId} from "./Ids.sol";

/// @title Services: offers to answer for one model; and seats: the staked operators who may answer.
/// @notice Anyone may create a service, and anyone may take a seat in it. A service never changes: other terms are
/// another service. Each seat is one share of the turns; an owner may hold several.
///
/// A request draws the seats that stood in the draw when it was made, whatever happens to the list afterwards: nobody can
/// enter or leave to catch a request whose draw is already known. A seat enters when it is activated, a lifetime after it
/// was taken, and leaves when its owner announces that, or when it can no longer cover a bond. Its number never changes.
interface IServices {
    /// @notice What a service promises and asks. Amounts in wei, times in seconds.
    /// @param model the model that answers.
    /// @param arbiter settles disputes about answers of this service.
    /// @param arbiterTerms parameters for the arbiter, in its own ABI encoding.
    /// @param attester an `IAttester`, which vouches for answers that are final at once; zero for none.
    /// @param attesterTerms parameters for the attester, in its own ABI encoding.
    /// @param bondWei locked from a seat's balance while its answer can be disputed.
    /// @param seatWei least balance to take a seat and to keep while in it.
    /// @param missPenaltyWei taken from a seat that lets its turn pass, and burnt. Whoever got it could earn by sending more
    /// requests than the seats can answer.
    /// @param basePriceWei price of any answer.
    /// @param bytePriceWei price of each prompt byte.
    /// @param tokenPriceWei price of each output token, the end token included.
    /// @param maxPromptBytes longest prompt; a private one may be `Prompts.SEAL_BYTES` longer.
    /// @param maxTokens most output tokens a request may ask for.
    /// @param turnSeconds how long one seat is entitled to answer.
    /// @param windowSeconds the challenge window.
    /// @param lifetimeSeconds latest deadline of a request, counted from its posting; at most `MAX_LIFETIME`.
    /// @param minOwners requests are refused while fewer distinct owners hold active seats.
    /// @param valueCapWei the most that should be at stake on one answer, in the creator's view. Consumers read it, and an
    /// attester lets no answer above it be final at once.
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

    /// @dev Suspended: out of the draw because it cannot cover a bond, until topped up. Moved: active, but the place of its own
    /// number leads or led to another seat.
    enum SeatStatus {
        Empty,
        Joining,
        Active,
        Leaving,
        Suspended,
        Moved
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
    /// @notice Requests of later blocks draw `seat` in `place`. A place without such an event leads to the seat of its own
    /// number.
    event SeatPlaced(ServiceId indexed service, uint16 place, uint16 indexed seat);
    /// @notice A seat left the draw because it cannot cover a bond; `topUp` brings it back, and emits SeatActivated.
    event SeatSuspended(ServiceId indexed service, uint16 indexed seat);
    event SeatLeaving(ServiceId indexed service, uint16 indexed seat, uint48 readyAt);
    event SeatLeft(ServiceId indexed service, uint16 indexed seat, uint256 balanceWei);
    event OperatorChanged(ServiceId indexed service, uint16 indexed seat, address operator);
    event SeatToppedUp(ServiceId indexed service, uint16 indexed seat, address indexed from, uint256 amountWei);
    event SeatWithdrawn(ServiceId indexed service, uint16 indexed seat, uint256 amountWei);
    /// @notice A seat was fined by its service's arbiter.
    event SeatFined(ServiceId indexed service, uint16 indexed seat, uint256 amountWei);

    /// @notice Thrown when no such service was created.
    /// @dev Check the id, and that this is the right chain and deployment.
    error UnknownService(ServiceId service);
    /// @notice Thrown when a service with the same terms exists.
    /// @dev Use it, or change the terms.
    error ServiceExists(ServiceId service);
    /// @notice Thrown when a service's model is not registered.
    /// @dev Register it first: `didyma model register`.
    error UnknownModel(ModelId model);
    /// @notice Thrown when a turn could end before the seed of a request just made is known.
    /// @dev Raise `turnSeconds` to the least given.
    error TurnTooShort(uint256 turnSeconds, uint256 leastSeconds);
    /// @notice Thrown when a challenge window is none, or too long.
    /// @dev Choose one up to the most given.
    error WindowOutOfRange(uint256 windowSeconds, uint256 mostSeconds);
    /// @notice Thrown when requests would live shorter than a turn, or too long, or through too many turns.
    /// @dev Choose a lifetime within the bounds given.
    error LifetimeOutOfRange(uint256 lifetimeSeconds, uint256 leastSeconds, uint256 mostSeconds);
    /// @notice Thrown when a service asks for no bond.
    /// @dev Set one that is worth more than a lie.
    error NoBond();
    /// @notice Thrown when a seat's least stake would not cover one bond.
    /// @dev Raise it to the bond at least.
    error SeatBelowBond(uint256 seatWei, uint256 bondWei);
    /// @notice Thrown when prompts or outputs of a service would have no room at all.
    /// @dev Set both above 0.
    error NoRoom(uint256 maxPromptBytes, uint256 maxTokens);
    /// @notice Thrown when a service needs no owner.
    /// @dev Set `minOwners` to 1 at least.
    error NoOwners();
    /// @notice Thrown when a seat would hold more than its counter can.
    /// @dev Deposit less, or take a second seat.
    error SeatBalanceTooLarge(uint256 balanceWei, uint256 mostWei);
    /// @notice Thrown when a service has as many seats as it may.
    /// @dev Wait until somebody leaves, or make another service.
    error ServiceFull(ServiceId service);
    /// @notice Thrown when anyone but a seat's owner changes it.
    /// @dev Send it from the owner's account.
    error NotSeatOwner(ServiceId service, uint16 seat, address owner);
    /// @notice Thrown when anyone but the service's arbiter locks seats or rules.
    /// @dev Call the arbiter, which calls this.
    error NotArbiter(ServiceId service, address arbiter);
    /// @notice Thrown when a seat is in another status than the call needs.
    /// @dev Read the seat: its status says what it may do.
    error WrongSeatStatus(ServiceId service, uint16 seat, SeatStatus status);
    /// @notice Thrown when a deposit would leave a seat below the service's least stake.
    /// @dev Send `leastWei` at least.
    error DepositTooSmall(uint256 leastWei, uint256 givenWei);
    /// @notice Thrown when a seat that leaves is paid out too early.
    /// @dev Call again after `readyAt`.
    error NotReadyYet(uint48 readyAt);
    /// @notice Thrown by `exit` while the seat has open answers or panel duties.
    /// @dev Wait until its answers are final and its panels have ended.
    error SeatLocked(ServiceId service, uint16 seat, uint16 locks);
    /// @notice Thrown by `suspend` if the seat can cover a bond, or may get one back.
    /// @dev Nothing is to be done: the seat can still answer.
    error NotDrained(ServiceId service, uint16 seat, uint256 balanceWei, uint256 openAnswers);
    /// @notice Thrown when a seat has as many open answers as can be counted.
    /// @dev Wait until some are final.
    error SeatBusy(ServiceId service, uint16 seat);
    /// @notice Thrown when a seat has too little free stake for a bond, a lock or a withdrawal.
    /// @dev Deposit more, or wait until answers are final.
    error InsufficientSeatBalance(ServiceId service, uint16 seat, uint256 balanceWei, uint256 neededWei);

    /// @notice Creates a service. Its id is the hash of its terms.
    /// @dev Calls `adopt` of arbiter and attester, which refuse terms that they cannot judge by.
    function createService(Terms calldata terms) external returns (ServiceId service);

    /// @notice Takes a seat: the number that was given up last, or a new one if none is free.
    /// @dev The ether sent becomes the seat's balance and must be at least `seatWei`.
    function join(ServiceId service, address operator) external payable returns (uint16 seat);

    /// @notice Lets a joining seat act once its delay is over. Anyone may call.
    function activate(ServiceId service, uint16 seat) external;

    /// @notice Announces that the owner gives up a seat. It leaves the draw; for requests made before, it may still act until
    /// `exit`, and serves on panels.
    function announceExit(ServiceId service, uint16 seat) external;

    /// @notice Gives up the seat; its balance becomes its owner's credit.
    function exit(ServiceId service, uint16 seat) external;

    /// @notice Adds the ether sent to the seat's balance, and brings a suspended seat back into the draw once it covers a
    /// bond. Anyone may call.
    function topUp(ServiceId service, uint16 seat) external payable;

    /// @notice Turns `amountWei` of the seat's balance into its owner's credit; at least `seatWei` must stay.
    function withdrawFromSeat(ServiceId service, uint16 seat, uint72 amountWei) external;

    /// @notice Replaces the seat's hot key.
    function setOperator(ServiceId service, uint16 seat, address operator) external;

    /// @notice Takes a seat out of the draw if its balance is below a bond and no open answer's bond can return. Fines and
    /// rulings do so by themselves. Anyone may call.
    function suspend(ServiceId service, uint16 seat) external;

    /// @notice Keeps a seat from being given up while it has a panel duty. Only the service's arbiter.
    function lockSeat(ServiceId service, uint16 seat) external;

    /// @notice Ends a panel duty, and burns `fineWei` of the seat's balance (or what is left of it).
    /// Only the service's arbiter.
    function unlockSeat(ServiceId service, uint16 seat, uint72 fineWei) external;

    /// @notice One seat; all zero if nobody holds it.
    function seatOf(ServiceId service, uint16 seat) external view returns (Seat memory);

    function operatorOf(ServiceId service, uint16 seat) external view returns (address);

    /// @return seatCount seats ever taken, held or not: their numbers are [0, seatCount).
    /// @return ownerCount distinct owners of seats in the draw.
    function counts(ServiceId service) external view returns (uint16 seatCount, uint16 ownerCount);

    /// @notice Seats in the draw: a request made now draws from the places [0, placesOf).
    function placesOf(ServiceId service) external view returns (uint16);

    /// @notice The seat that a request made in block `blockNumber` draws in `place`.
    function seatAt(ServiceId service, uint16 place, uint256 blockNumber) external view returns (uint16 seat);

    /// @notice The service's arbiter; zero if the service does not exist.
    function arbiterOf(ServiceId service) external view returns (IArbiter);

    /// @notice The service's attester; zero if it has none.
    function attesterOf(ServiceId service) external view returns (address);
}
