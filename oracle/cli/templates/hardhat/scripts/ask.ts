/** `didyma dev -- npx hardhat run scripts/ask.ts`: asks on a network of its own, and prints what the critic heard. */

import { startDev } from "didyma/dev";
import hre from "hardhat";

import { heard } from "./critic.js";

await hre.tasks.getTask("build").run({});
const dev = await startDev(); // the network around this process, if there is one
const review = process.env["REVIEW"] ?? "The soup was cold and the waiter was rude.";
console.log(`mood ${await heard(dev, review)} (1 negative, 2 positive)`);
await dev.stop();
