/** The critic on the mock oracle: the test says what the model answers. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { network } from "hardhat";
import { parseEther, parseGwei, stringToHex } from "viem";

const NEGATIVE = 1;
const GAS_PRICE = parseGwei("1");
const REVIEW = stringToHex("The soup was cold.");
const { viem } = await network.create();

async function deployed() {
  const mock = await viem.deployContract("MockOracle", [parseEther("0.001"), parseGwei("10"), parseGwei("10000")]);
  const critic = await viem.deployContract("Critic", [mock.address, `0x${"07".repeat(32)}`]);
  return { mock, critic };
}

let { mock, critic } = await deployed();

beforeEach(async () => {
  ({ mock, critic } = await deployed());
});

async function ask(): Promise<bigint> {
  const value = await critic.read.price([18n, GAS_PRICE]);
  await critic.write.ask([REVIEW, GAS_PRICE], { value });
  return critic.read.last();
}

test("ask__wrong_price__reverts", async () => {
  const value = await critic.read.price([18n, GAS_PRICE]);
  await assert.rejects(critic.write.ask([REVIEW, GAS_PRICE], { value: value - 1n }), /WrongFee|revert/);
});

test("answer__one_word__is_kept", async () => {
  const requestId = await ask();
  await mock.write.answer([requestId, stringToHex("negative"), 2]);
  assert.equal(await critic.read.moods([requestId]), NEGATIVE);
});

test("answer__anything_else__is_unknown", async () => {
  const requestId = await ask();
  await mock.write.answer([requestId, stringToHex("rather cold"), 2]);
  assert.equal(await critic.read.moods([requestId]), 0);
});

test("answer__rejected_in_a_dispute__the_next_one_is_heard", async () => {
  const requestId = await ask();
  await mock.write.post([requestId, stringToHex("positive"), 2]);
  await mock.write.dispute([requestId]);
  await mock.write.rule([requestId, 1]);
  assert.equal(await critic.read.moods([requestId]), 0);
  await mock.write.answer([requestId, stringToHex("negative"), 2]);
  assert.equal(await critic.read.moods([requestId]), NEGATIVE);
});

test("refund__nobody_answers__money_comes_back", async () => {
  const requestId = await ask();
  await mock.write.refund([requestId]);
  const [wallet] = await viem.getWalletClients();
  assert.ok((await mock.read.credit([critic.address])) > 0n);
  await critic.write.sweep([wallet.account.address]);
  assert.equal(await mock.read.credit([critic.address]), 0n);
});
