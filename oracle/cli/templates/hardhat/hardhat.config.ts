import { fileURLToPath } from "node:url";

import hardhatNodeTestRunner from "@nomicfoundation/hardhat-node-test-runner";
import hardhatViem from "@nomicfoundation/hardhat-viem";
import { defineConfig } from "hardhat/config";

export default defineConfig({
  plugins: [hardhatViem, hardhatNodeTestRunner],
  solidity: {
    version: "0.8.37",
    path: fileURLToPath(import.meta.resolve("solc/soljson.js")), // npm's; without it Hardhat downloads a compiler
    settings: { optimizer: { enabled: true } },
    npmFilesToBuild: ["didyma/contracts/mocks/MockOracle.sol"],
  },
});
