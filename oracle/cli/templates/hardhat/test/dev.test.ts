/** The critic on the whole oracle: nodes, the shipped model and the challenge window. They need didyma's wheel. */

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { startDev } from "didyma/dev";

import { heard } from "../scripts/critic.js";

const dev = await startDev();
after(() => dev.stop());

test("critic__on_the_whole_oracle__hears_the_model", async () => {
  assert.equal(await heard(dev, "The soup was cold and the waiter was rude."), 1);
});
