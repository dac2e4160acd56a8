// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Blockhash} from "@openzeppelin/contracts/utils/Blockhash.sol";

import {IOracle} from "../interfaces/IOracle.sol";
import {RequestLib} from "./RequestLib.sol";

/// @title The seeds of requests, as the chain remembers them.
library Seeds {
    using RequestLib for IOracle.Request;

    /// @dev Zero before the seed's block has a successor, and when the chain has forgotten it.
    function seedBlockHash(IOracle.Request calldata r) internal view returns (bytes32) {
        return Blockhash.blockHash(r.blockNumber() + RequestLib.SEED_DELAY);
    }
}
