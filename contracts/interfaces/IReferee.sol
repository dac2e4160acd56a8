// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Models} from "../disputes/referee/Models.sol";
import {IModelRegistry} from "./IModelRegistry.sol";
import {IDisputeGame} from "./IDisputeGame.sol";
import {IOracle} from "./IOracle.sol";
import {ModelId} from "./Types.sol";

/// @title The referee: computes one number of an exact model's forward pass from calldata, and says whether a node's
/// number is another.
/// @notice It keeps no games, bonds or clocks: a game tells it what is in dispute, and hears what is proven. Everything it is shown must hash to a root that it is given: of the
/// model's weights, of its tables, of the answer's tokens, or of tensors that stand before the disputed one in the pass
/// and that both sides therefore agree on. What it computes is docs/numerics.md; which tensors there are and how they
/// are laid out, `Graph`.
interface IReferee {
    /* TYPES */

    /// @notice The token ids of prompt and output, as an answer's `tokensRoot` commits them: keccak256 of this struct.
    /// @param promptCount tokens before the output, wrapper included.
    /// @param root Merkle root of all tokens; a leaf is four entries of eight bytes: the id and the end, both uint32.
    /// The end of an output token is the length of all output up to and including it; that of a prompt token is 0.
    /// Missing entries of the last leaf are zero.
    struct Tokens {
        uint256 promptCount;
        bytes32 root;
    }

    /// @notice One leaf of one operator's output.
    /// @param positions p: how many tokens the pass is over; prompt and the output before the disputed token.
    /// @param step 0: embedding; 1 to L: layers; L + 1: the end. @param operator index within the step.
    /// @param leaf index in the tensor's tree.
    struct Place {
        uint256 positions;
        uint256 step;
        uint256 operator;
        uint256 leaf;
    }

    /// @notice The roots that the node opened on the way to a place.
    /// @param steps root over the outputs of all steps. @param operators root over the step's operators' outputs.
    struct Roots {
        bytes32 steps;
        bytes32 operators;
    }

    /// @notice A piece of data under a root.
    /// @param data one leaf, or all leaves of a row one after the other.
    /// @param root of the tree that `data` is in, if it is a tensor's; else ignored.
    /// @param listProof that `root` is in `Roots`, if it is a tensor's; else empty.
    /// @param proof that `data` is in the tree.
    struct Input {
        bytes data;
        bytes32 root;
        bytes32[] listProof;
        bytes32[] proof;
    }

    /// @notice An element and all that its inputs are bound to.
    /// @param pointer whose code holds the model's numbers `n`. @param name of the operator: `Graph.named`.
    struct Question {
        address pointer;
        Models.Numbers n;
        Roots roots;
        uint256 positions;
        uint256 step;
        uint256 name;
        uint256 row;
        uint256 column;
    }

    event ModelEnrolled(ModelId indexed model);

    /* ERRORS */

    /// @notice Thrown when a manifest is not a registered model's.
    error NotRegistered(ModelId model);
    /// @notice Thrown when a manifest has no weights root or no architecture.
    error NotExact(ModelId model);
    error NotEnrolled(ModelId model);
    error AlreadyEnrolled(ModelId model);
    error WrongInputCount(uint256 expected, uint256 given);
    error WrongDataLength(uint256 expected, uint256 given);
    /// @notice Thrown when a number is named that the leaf has not.
    error NoSuchElement(uint256 element, uint256 elements);
    /// @notice Thrown when tokens are not those that the answer commits to.
    error WrongTokens(bytes32 expected, bytes32 computed);
    /// @notice Thrown when a leaf is not the one in dispute.
    error WrongLeaf(bytes32 expected, bytes32 computed);
    /// @notice Thrown when nothing is wrong with what is shown.
    error NothingWrong();

    /* MODELS */

    /// @notice Keeps a registered model's numbers, so that they need not be passed with each move. Anyone may call, once.
    function enroll(IModelRegistry.Manifest calldata manifest) external;

    function enrolled(ModelId model) external view returns (bool);

    /// @notice The contract whose code holds a model's numbers (`Models`).
    function pointerOf(ModelId model) external view returns (address);

    /// @notice Reverts unless the model is enrolled, and every prompt of up to `promptBytes` leaves room for an output.
    /// @return count `steps` of the model.
    function checkPrompts(ModelId model, uint256 promptBytes) external view returns (uint256 count);

    /* SHAPES */

    /// @notice Roots in the first list.
    function steps(ModelId model) external view returns (uint256);

    /// @notice Roots in the second list; the last is the step's.
    function operators(ModelId model, uint256 step) external view returns (uint256);

    /// @notice Reverts unless `root` is the place's operator's in a list of the step's. Returns the levels of its tree.
    /// @param list root over the list.
    function pick(ModelId model, Place calldata place, bytes32 list, bytes32 root, bytes32[] calldata proof)
        external
        view
        returns (uint256 levels);

    /* RULINGS */

    /// @notice Whether number `element` of the leaf `values` is not what the operator makes of its inputs, or `values` not of
    /// a leaf's size. Leaves that the layout leaves out are 32 zero bytes.
    /// @param inputs in the order in which `Referee` reads them, which `oracle/disputes/evidence.py` follows.
    /// @param tokenCount output tokens of the answer.
    function isWrong(
        ModelId model,
        Place calldata place,
        Roots calldata roots,
        Tokens calldata tokens,
        uint256 tokenCount,
        bytes calldata values,
        uint256 element,
        Input[] calldata inputs
    ) external view returns (bool);

    /// @notice Ends a game at its leaf: shows what number `element` is computed from. Anyone may call; what the game earns
    /// is its challenger's.
    /// @param game hears of it; it must trust this referee. @param values the leaf as the node opened it.
    function prove(
        IDisputeGame game,
        IDisputeGame.GameId gameId,
        IOracle.Request calldata req,
        IOracle.Answer calldata ans,
        Tokens calldata tokens,
        bytes calldata values,
        uint256 element,
        Input[] calldata inputs
    ) external;
}
