/**
 * The client on a chain with `MockOracle`, which tests/e2e/test_js_client.py starts and names in $DIDYMA_LIVE: every ending,
 * every second try, and every kind of bad input, beside what the Python client met there.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";

import {
  type Abi,
  type Address,
  createPublicClient,
  createTestClient,
  createWalletClient,
  type Hex,
  http,
  stringToHex,
} from "viem";
import { mnemonicToAccount } from "viem/accounts";

import { mockOracleAbi } from "../src/generated/abi.js";
import {
  CallReverted,
  choice,
  choiceType,
  type Deployment,
  OracleClient,
  type Params,
  pattern,
  Refused,
  textPrompt,
  TimedOut,
  typedPrompt,
} from "../src/index.js";

interface Live {
  url: string;
  mnemonic: string;
  service: Hex;
  deployment: Deployment;
  correspondent: Address;
  quotes: { promptBytes: number; params: Params; totalWei: string; forfeitWei: string }[];
  refusals: Refusal[];
  unknown: Refusal & { deployment: Deployment };
}

interface Refusal {
  promptBytes: number;
  params: Params;
  name: string;
  args: Record<string, string>;
  message: string;
}

const live = JSON.parse(readFileSync(process.env["DIDYMA_LIVE"] ?? "", "utf8")) as Live;
const { service, deployment } = live;
const transport = http(live.url);
const chain = createPublicClient({ transport, pollingInterval: 50, cacheTime: 0 });
const anvil = createTestClient({ transport, mode: "anvil" });
const account = mnemonicToAccount(live.mnemonic, { addressIndex: 1 });
const wallet = createWalletClient({ account, transport });
const node = createWalletClient({ account: mnemonicToAccount(live.mnemonic, { addressIndex: 4 }), transport });
const wishes = { maxTokens: 8 };
const patience = { pollMillis: 50, timeoutSeconds: 20 };
let client: OracleClient;

before(async () => {
  client = await OracleClient.at(chain, deployment, wallet);
});

after(async () => {
  // Nothing that was asked for is left behind: all escrows were paid out, or are somebody's credit.
  assert.ok((await chain.getBalance({ address: deployment.oracle })) > 0n);
});

/** What the test decides, as the node. */
async function decides(functionName: string, args: readonly unknown[]): Promise<void> {
  const hash = await node.writeContract({ address: deployment.oracle, abi: mockOracleAbi as Abi, functionName, args, chain: null });
  assert.equal((await chain.waitForTransactionReceipt({ hash })).status, "success");
}

async function names(requestId: bigint): Promise<string[]> {
  return (await client.steps(requestId)).map((step) => step.name);
}

async function refusal(call: Promise<unknown>): Promise<CallReverted> {
  const found = await call.then(
    () => null,
    (error: unknown) => error,
  );
  assert.ok(found instanceof CallReverted, String(found));
  return found;
}

test("quote__as_the_python_client__to_the_wei", async () => {
  assert.ok(live.quotes.length > 5);
  for (const { promptBytes, params, totalWei, forfeitWei } of live.quotes) {
    const found = await client.quote(service, promptBytes, exact(params));
    assert.deepEqual([String(found.totalWei), String(found.forfeitWei)], [totalWei, forfeitWei]);
  }
});

test("ask__bad_input__is_the_contracts_error_as_the_python_client_says_it", async () => {
  assert.ok(live.refusals.length > 5);
  for (const each of live.refusals) await refusedAlike(client, each);
});

test("ask__unknown_service__is_the_contracts_error_with_the_service", async () => {
  const nowhere = await OracleClient.at(chain, live.unknown.deployment, wallet);
  assert.deepEqual([live.unknown.name, live.unknown.args], ["UnknownService", { service }]);
  await refusedAlike(nowhere, live.unknown);
});

async function refusedAlike(by: OracleClient, { promptBytes, params, name, args, message }: Refusal): Promise<void> {
  const found = await refusal(by.ask(service, new Uint8Array(promptBytes), exact(params)));
  assert.equal(found.errorName, name);
  assert.deepEqual(Object.fromEntries(Object.entries(found.args).map(([key, value]) => [key, String(value)])), args);
  assert.equal(found.message, message);
}

/** JSON has no big integers. */
function exact(params: Params): Params {
  return { ...params, callbackGasPriceWei: BigInt(params.callbackGasPriceWei) };
}

test("askText__empty__is_refused_before_anything_is_sent", async () => {
  await assert.rejects(client.askText(service, " \n", wishes), Refused);
});

test("ask__answered__is_followed_to_the_end_and_paid_for_by_the_token", async () => {
  const { requestId, receipt } = await client.askText(service, "The soup was cold.", wishes);
  setTimeout(() => void decides("answer", [requestId, stringToHex("negative"), 2]), 300);
  const steps: string[] = [];
  for await (const step of client.follow(requestId, { ...patience, fromBlock: receipt.blockNumber })) steps.push(step.name);
  assert.deepEqual(steps, ["RequestPosted", "AnswerPosted", "RequestFinalized"]);
  const life = await client.life(requestId);
  assert.equal(life.output, stringToHex("negative"));
  assert.equal(life.isFinal, true);
  assert.equal(client.holdsTokens(life, { prompt: [], output: [1], ends: [1] }), false);
  const creditWei = await client.credit();
  assert.ok(creditWei > 0n);
  await client.withdraw();
  assert.equal(await client.credit(), 0n);
  await assert.rejects(client.withdraw(), Refused);
  const found = await refusal(client.withdraw(account.address, 1n));
  assert.ok(found.is("InsufficientCredit"));
  assert.equal(found.args.amountWei, 1n);
});

test("ask__type_that_needs_more_tokens__is_refused_and_nothing_sent", async () => {
  const { type, leastTokens } = pattern({ type: "integer", minimum: 10, maximum: 20 }, { root: "0x01020304" });
  const prompt = typedPrompt(type, textPrompt("How many?"));
  const before = await client.chain.getTransactionCount({ address: account.address });
  await assert.rejects(client.ask(service, prompt, await client.params({ maxTokens: leastTokens - 1 })), Refused);
  await assert.rejects(client.ask(service, prompt.slice(0, 12), await client.params({ maxTokens: 99 })), Refused);
  assert.equal(await client.chain.getTransactionCount({ address: account.address }), before);
});

test("askChoice__verdict_and_margin__is_the_label_or_unknown", async () => {
  const asked = choice(choiceType([[5], [6, 7]], "0x01020304"), ["yes", "no"]);
  await assert.rejects(client.askChoice(service, asked, "Is water wet?", { maxTokens: 2 }), Refused);
  const { requestId } = await client.askChoice(service, asked, "Is water wet?");
  assert.equal(client.decided(await client.life(requestId), asked).label, "unknown");
  await decides("answer", [requestId, "0x01000180000000000005", 3]);
  const life = await client.finished(requestId, patience);
  assert.deepEqual(client.decided(life, asked), {
    label: "no",
    verdict: { index: 1, marginRaw: 0x18000, margin: 1.5, step: 0, other: 5 },
  });
  assert.equal(client.decided(life, asked, 1.6).label, "unknown");
});

test("follow__rejected_and_answered_again__tells_both_answers", async () => {
  const { requestId } = await client.askText(service, "Is fire cold?", wishes);
  await decides("post", [requestId, stringToHex("yes"), 1]);
  await decides("dispute", [requestId]);
  await decides("rule", [requestId, 1]);
  await decides("answerAtOnce", [requestId, stringToHex("no"), 1]);
  const life = await client.finished(requestId, patience);
  assert.equal(life.output, stringToHex("no"));
  assert.equal(life.steps.filter((step) => step.name === "AnswerPosted").length, 2);
});

test("follow__nobody_answers__times_out_then_is_refunded", async () => {
  const { requestId } = await client.askText(service, "Anybody?", { ...wishes, deadlineSeconds: 30 });
  await assert.rejects(client.finished(requestId, { pollMillis: 50, timeoutSeconds: 0.1 }), TimedOut);
  assert.ok((await refusal(client.refund(requestId))).is("DeadlineNotPassed"));
  await anvil.increaseTime({ seconds: 60 });
  await anvil.mine({ blocks: 1 });
  await client.refund(requestId);
  assert.deepEqual(await names(requestId), ["RequestPosted", "RequestRefunded"]);
  assert.ok((await refusal(client.refund(requestId))).is("WrongStatus"));
});

test("cancel__unanswered__is_free_at_once", async () => {
  const before = await client.credit();
  const { requestId, receipt } = await client.askText(service, "Never mind.", wishes);
  await client.cancel(requestId);
  const { value } = await chain.getTransaction({ hash: receipt.transactionHash });
  assert.equal((await client.credit()) - before, value);
});

test("retry__callback_failed_or_was_left__is_delivered_and_paid", async () => {
  const abi = [
    { type: "function", name: "askText", stateMutability: "payable", outputs: [], inputs: [{ name: "text", type: "bytes" }, paramsType] },
  ] as unknown as Abi;
  for (const how of ["fail", "leaveCallback"]) {
    const params = await client.params({ ...wishes, callbackGas: 60_000, callbackGasPriceWei: 10n ** 9n });
    const { totalWei } = await client.quote(service, textPrompt("Well?").length, params);
    const call = { address: live.correspondent, abi, functionName: "askText", args: [stringToHex("Well?"), params], value: totalWei };
    const hash = await wallet.writeContract({ ...call, chain: null });
    const requestId = client.requestIn(await chain.waitForTransactionReceipt({ hash }));
    await assert.rejects(client.retry(requestId), Refused);
    await decides(how, [requestId, stringToHex("well"), 1]);
    const last = (await client.finished(requestId, patience)).steps.at(-1)?.name;
    assert.equal(last, how === "fail" ? "CallbackFailed" : "CallbackLeft");
    assert.ok((await refusal(client.retry(requestId, 1))).is("InsufficientGas"));
    const before = await client.credit();
    await client.retry(requestId);
    assert.equal((await client.credit()) > before, how === "leaveCallback");
    await assert.rejects(client.retry(requestId), Refused);
  }
});

const paramsType = mockOracleAbi.flatMap((entry) => (entry.type === "function" && entry.name === "request" ? entry.inputs : [])).at(-1);

test("life__unknown_request__is_refused", async () => {
  await assert.rejects(client.life(7n), Refused);
  const hash = await wallet.sendTransaction({ to: account.address, chain: null });
  const receipt = await chain.waitForTransactionReceipt({ hash });
  assert.throws(() => client.requestIn(receipt), Refused);
});

test("life__by_a_client_that_keeps_block_numbers_for_a_while__knows_what_was_just_asked", async () => {
  const keeping = await OracleClient.at(createPublicClient({ transport }), deployment, wallet);
  for (let asked = 0; asked < 2; asked += 1) {
    const { requestId } = await keeping.askText(service, `Question ${asked}?`, wishes);
    assert.equal((await keeping.life(requestId)).isFinal, false);
  }
});

test("at__another_chain_or_no_contract__is_refused", async () => {
  await assert.rejects(OracleClient.at(chain, { ...deployment, chain_id: 1 }), Refused);
  await assert.rejects(OracleClient.at(chain, { ...deployment, oracle: account.address }), Refused);
  const reader = await OracleClient.at(chain, deployment);
  await assert.rejects(reader.withdraw(), Refused);
  const keyless = createWalletClient({ transport }) as unknown as typeof wallet;
  await assert.rejects((await OracleClient.at(chain, deployment, keyless)).withdraw(), Refused);
});
