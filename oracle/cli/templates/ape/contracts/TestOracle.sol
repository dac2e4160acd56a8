// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {MockOracle} from "didyma/contracts/mocks/MockOracle.sol";

/// @title The mock oracle, for the tests of this project.
contract TestOracle is MockOracle {
    constructor(uint64 basePriceWei_, uint64 bytePriceWei_, uint64 tokenPriceWei_)
        MockOracle(basePriceWei_, bytePriceWei_, tokenPriceWei_)
    {}
}
