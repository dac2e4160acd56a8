// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ModelId} from "./Ids.sol";
import {IModelRegistry} from "./IModelRegistry.sol";
import {IDisputeGame} from "./IDisputeGame.sol";
import {IOracle} from "./IOracle.sol";

/// @title The referee: computes one number of an exact model's forward pass from calldata, and says whether a node's
/// number is another.
/// @notice It keeps no games, bonds or clocks: a game tells it what is in dispute, and learns from it what is proven.
/// Everything that it is shown must hash to a root: of the model's weights, of its tables, of the answer's tokens, or of
/// tensors before the disputed one in the pass, on which both sides therefore agree. docs/numerics.md defines what it
/// computes; `Graph` says which tensors there are and how they are laid out.
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

    event ModelEnrolled(ModelId indexed model);

    /* ERRORS */

    /// @notice Thrown when a manifest is not a registered model's.
    /// @dev Register the model first, and pass its manifest unchanged.
    error NotRegistered(ModelId model);
    /// @notice Thrown when a manifest has no weights root or no architecture.
    /// @dev `didyma model register` commits to both, for files that the exact engine reads.
    error NotExact(ModelId model);
    /// @notice Thrown when the referee does not know a model's numbers.
    /// @dev Call `enroll` with its manifest; `didyma service create` does.
    error NotEnrolled(ModelId model);
    /// @notice Thrown when the referee knows this model already.
    /// @dev Nothing is to be done.
    error AlreadyEnrolled(ModelId model);
    /// @notice Thrown when a proof shows more or fewer inputs than its operator reads.
    /// @dev Show as many as `expected` says.
    error WrongInputCount(uint256 expected, uint256 given);
    /// @notice Thrown when an input's bytes are more or fewer than its leaf holds.
    /// @dev Show the whole leaf, and nothing else.
    error WrongDataLength(uint256 expected, uint256 given);
    /// @notice Thrown when the leaf has no number of that index.
    /// @dev Name a number that the leaf has.
    error NoSuchElement(uint256 element, uint256 elements);
    /// @notice Thrown when tokens are not those that the answer commits to.
    /// @dev Pass the token count and root of the answer's `tokensRoot`.
    error WrongTokens(bytes32 expected, bytes32 computed);
    /// @notice Thrown when a leaf is not the one in dispute.
    /// @dev Show the leaf that the game is about.
    error WrongLeaf(bytes32 expected, bytes32 computed);
    /// @notice Thrown when nothing is wrong with what is shown.
    /// @dev The answer is right in what is shown: look for another number, or give up the game.
    error NothingWrong();
    /// @notice Thrown for a step beyond the end of the pass.
    /// @dev Name a step that the model has.
    error NoSuchStep(uint256 step, uint256 steps);
    /// @notice Thrown for an operator beyond the last of its step.
    /// @dev Name an operator that the step has.
    error NoSuchOperator(uint256 operator, uint256 operators);
    /// @notice Thrown for a pass over no tokens.
    /// @dev Name a pass over one token at least.
    error NoPositions();
    /// @notice Thrown for a number that the tensor does not have. No index stands for what fills up a leaf, a row or a
    /// tree.
    /// @dev Name a row and a column that the tensor has.
    error NoSuchNumber(uint256 row, uint256 column, uint256 rows, uint256 columns);

    // Thrown by `enroll`.

    /// @notice Thrown when a manifest names a family of models that the referee cannot compute.
    /// @dev The dispute game judges Llama, Qwen 2, Qwen 3 and Gemma 3; a panel judges others.
    error UnknownFamily(uint256 family);
    /// @notice Thrown when a model has no layer, or more than the referee takes.
    /// @dev A panel judges such a model.
    error LayersOutOfRange(uint256 layers, uint256 most);
    /// @notice Thrown when a width is zero.
    /// @dev Register the file with `didyma model register`, which computes these numbers.
    error NoWidth(uint256 width, uint256 hidden, uint256 headWidth, uint256 vocabulary);
    /// @notice Thrown when query heads are not a multiple of key heads.
    /// @dev Register the file with `didyma model register`, which computes these numbers.
    error HeadsUnequal(uint256 heads, uint256 kvHeads);
    /// @notice Thrown when the rotary embedding is wider than a head, or its width is odd.
    /// @dev Register the file with `didyma model register`, which computes these numbers.
    error RopeOutOfRange(uint256 ropeWidth, uint256 headWidth);
    /// @notice Thrown when a norm adds nothing to its sum of squares.
    /// @dev Register the file with `didyma model register`, which computes these numbers.
    error NoEpsilon(uint256 epsilon, uint256 headEpsilon);
    /// @notice Thrown when the context is longer than the table of rotations, or than a row of scores in a transaction.
    /// @dev Lower the manifest's context to `most`.
    error ContextTooLong(uint256 context, uint256 most);
    /// @notice Thrown when a game about the scores would take more openings than it may.
    /// @dev Lower the manifest's context.
    error ScoresTooDeep(uint256 levels, uint256 most);
    /// @notice Thrown when a manifest names more or fewer tensor types than the model has matrices.
    /// @dev Register the file with `didyma model register`, which computes these numbers.
    error WrongKinds(uint256 expected, uint256 given);
    /// @notice Thrown when a row would not fit a transaction.
    /// @dev A panel judges such a model.
    error RowTooLong(uint256 columns, uint256 most);
    /// @notice Thrown when the manifest names a token beyond the vocabulary: no prompt would have an answer.
    /// @dev Register the file with `didyma model register`, which computes these numbers.
    error NoSuchToken(uint256 token, uint256 vocabulary);
    /// @notice Thrown when a manifest has so many stop tokens that an answer might be too dear to judge.
    /// @dev Name fewer.
    error TooManyStops(uint256 stops, uint256 most);
    /// @notice Thrown for a kind of vocabulary or a cutter that the referee of texts does not know.
    /// @dev `didyma model register` sets the kind to 0, for ids alone, where texts cannot be judged.
    error UnknownText(uint256 kind, uint256 cutter);

    /* MODELS */

    /// @notice Keeps a registered model's numbers, so that they need not be passed with each move. Anyone may call, once.
    function enroll(IModelRegistry.Manifest calldata manifest) external;

    function enrolled(ModelId model) external view returns (bool);

    /// @notice The contract whose code holds a model's numbers (`Commitments`).
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
    /// @param inputs in the order in which `Referee` reads them, which `oracle/disputes/inputs.py` follows.
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
    /// @param game is told by `won`; it must trust this referee. @param values the leaf as the node opened it.
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
