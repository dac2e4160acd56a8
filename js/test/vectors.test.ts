/** The client against vectors that the Python client's side wrote: the same bytes, prices and verdicts. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { bytesToHex, decodeFunctionResult, encodeAbiParameters, encodeFunctionData, getAbiItem, type Hex, hexToBytes, stringToHex } from "viem";
import { z } from "zod";

import { oracleAbi } from "../src/generated/abi.js";
import {
  BadArgument,
  CallReverted,
  choice,
  choiceType,
  decide,
  idsPrompt,
  OracleClient,
  panelTokensRoot,
  type Params,
  type Part,
  paramsAt,
  partsPrompt,
  pattern,
  Refused,
  type Request,
  requestIdOf,
  type SelfDescribing,
  textPrompt,
  type Tokens,
  tokensRoot,
  typedPrompt,
  verdictOf,
  type Wishes,
} from "../src/index.js";
import { leastTokensOf } from "../src/prompts.js";
import { callbackGasOf } from "../src/requests.js";

type Json = any;
const root = process.env["DIDYMA_VECTORS"] ?? join(process.cwd(), "tests/vectors");
const vectors = JSON.parse(readFileSync(join(root, "clients.json"), "utf8")) as Record<string, Json[]>;

function cases(name: string): Json[] {
  const found = vectors[name] ?? [];
  assert.ok(found.length > 5, name);
  return found;
}

test("prompts__each_kind__are_the_same_bytes", () => {
  for (const { text, ids, parts, prompt } of cases("prompts") as { text?: string; ids?: number[]; parts?: Part[]; prompt: Hex }[]) {
    const made = text !== undefined ? textPrompt(text) : ids !== undefined ? idsPrompt(ids) : partsPrompt(parts ?? []);
    assert.equal(bytesToHex(made), prompt);
  }
});

test("choice__rows_of_ids__is_the_same_type_and_prompt", () => {
  for (const each of cases("types") as { rows: number[][]; root: Hex; type: Hex; leastTokens: number; text: string; prompt: Hex }[]) {
    assert.equal(choiceType(each.rows, each.root), each.type);
    const labels = each.rows.map((_, index) => `label ${index}`);
    assert.equal(choice(each.type, labels).leastTokens, each.leastTokens);
    assert.equal(bytesToHex(typedPrompt(each.type, textPrompt(each.text))), each.prompt);
    assert.throws(() => choice(each.type, [...labels, "one more"]), Refused);
    assert.throws(() => choice(each.type.slice(0, -2) as Hex, labels), Refused);
    assert.throws(() => choice(`${each.type}00`, labels), Refused);
  }
});

test("choice__zod_enumeration__labels_are_its_options", () => {
  const type = choiceType([[1], [2, 3]], "0x01020304");
  const asked = choice(type, z.enum(["yes", "no"]));
  const label: "yes" | "no" | "unknown" = decide(asked, "0x00000100000000000000", 0).label;
  assert.equal(label, "yes");
  assert.throws(() => choice(type, ["yes", "yes"]), Refused);
});

test("choice__ids_that_do_not_fit__is_refused", () => {
  for (const rows of [[[1 << 24], [1]], [[-1], [1]], [[0.5], [1]]]) {
    assert.throws(() => choiceType(rows, "0x01020304"), Refused);
  }
  assert.throws(() => choice(choiceType([[1]], "0x01020304"), ["one"]), Refused);
  assert.throws(() => choice(choiceType([[1], []], "0x01020304"), ["one", "two"]), Refused);
});

test("pattern__any_schema__is_the_same_type_or_refused_by_both", () => {
  const each = cases("patterns") as { schema: Json; root: Hex; unspelled: Hex; type: Hex | null; least: number; most: number }[];
  for (const { schema, root: of, unspelled, type, least, most } of each) {
    if (type === null) {
      assert.throws(() => pattern(schema, { root: of, unspelled }), Refused, JSON.stringify(schema));
      continue;
    }
    const made = pattern(schema, { root: of, unspelled });
    assert.deepEqual([made.type, made.leastTokens, made.mostTokens], [type, least, most], JSON.stringify(schema));
    assert.equal(leastTokensOf(typedPrompt(type, textPrompt("?"))), least);
  }
  assert.ok(each.filter(({ type }) => type === null).length > 10);
});

test("pattern__zod_schema__is_read_back_as_its_type", () => {
  const review = z.object({ mood: z.enum(["good", "bad"]), stars: z.int().min(-3).max(5), why: z.string().max(20), sure: z.boolean() });
  const asked = pattern(review, { root: "0x01020304" });
  const text = '{"mood":"bad","stars":-2,"why":"kalt, né","sure":true}';
  const found: z.infer<typeof review> = asked.read(stringToHex(text));
  assert.deepEqual(found, { mood: "bad", stars: -2, why: "kalt, né", sure: true });
  for (const wrong of ["", text.slice(1), text.replace(",", ", "), text.replace("-2", "-4"), text.replace("true", "True")]) {
    assert.throws(() => asked.read(stringToHex(wrong)), Refused, wrong);
  }
  assert.equal(bytesToHex(typedPrompt(asked.type, textPrompt("?"))).slice(0, 12), "0x0301020304");
});

test("pattern__zod_schema_that_contracts_do_not_read__is_refused", () => {
  const nested = z.object({ a: z.object({ b: z.boolean() }) });
  const optional = z.object({ a: z.boolean().optional() });
  const wrong: SelfDescribing<unknown>[] = [z.number(), z.string(), z.array(z.string()), nested, optional];
  for (const schema of [...wrong, z.object({ 1: z.boolean() }), z.union([z.boolean(), z.null()])] as SelfDescribing<unknown>[]) {
    assert.throws(() => pattern(schema, { root: "0x01020304" }), Refused);
  }
});

test("pattern__what_a_library_cannot_say__is_refused", () => {
  const wrong: SelfDescribing<unknown>[] = [z.date(), z.bigint(), z.literal(1n), z.undefined(), z.stringbool()];
  for (const schema of wrong) assert.throws(() => pattern(schema, { root: "0x01020304" }), Refused);
});

test("pattern__schema_that_makes_another_value_of_an_answer__is_made_for_what_it_takes", () => {
  const length = pattern(z.string().max(3).transform((said) => said.length), { root: "0x01020304" });
  assert.equal(length.read(stringToHex('"né"')), 2);
});

test("pattern__answer_that_its_schema_rejects__is_refused_with_the_reason", () => {
  const odd = z.int().min(0).max(9).refine((value) => value % 2 === 1, "it is even");
  assert.equal(pattern(odd, { root: "0x01020304" }).read(stringToHex("3")), 3);
  assert.throws(() => pattern(odd, { root: "0x01020304" }).read(stringToHex("4")), (error) => error instanceof Refused && /means nothing.*it is even/s.test(error.message));
});

test("leastTokensOf__typed_prompts_without_a_whole_type__are_refused", () => {
  const digit = typedPrompt(pattern({ type: "integer", minimum: 0, maximum: 9 }, { root: "0x01020304" }).type, textPrompt("?"));
  for (const length of [1, 5, 8, 9, 12, 20]) assert.throws(() => leastTokensOf(digit.slice(0, length)), Refused);
  for (const table of ["000000", "000100", "000101010000"] as const) {
    assert.throws(() => leastTokensOf(typedPrompt(`0x0102030402${"00000" + String(table.length / 2)}${table}`, textPrompt("?"))), Refused);
  }
  assert.throws(() => leastTokensOf(typedPrompt("0x0102030403000000", textPrompt("?"))), Refused);
  assert.equal(leastTokensOf(typedPrompt(choiceType([[5], [6, 7]], "0x01020304"), textPrompt("?"))), 3);
  assert.equal(leastTokensOf(textPrompt("?")), 0);
  assert.equal(leastTokensOf(new Uint8Array()), 0);
});

test("verdict__any_output__is_read_the_same", () => {
  let labelled = 0;
  for (const each of cases("verdicts") as { output: Hex; verdict: object | null; labels?: string[]; leastMargin?: number; label?: string }[]) {
    const found = verdictOf(each.output);
    if (each.verdict === null) assert.equal(found, null);
    else assert.deepEqual({ ...found }, { ...each.verdict, margin: (found?.marginRaw ?? 0) / 65536 });
    if (each.labels === undefined) continue;
    labelled += 1;
    assert.equal(decide({ type: "0x", labels: each.labels, leastTokens: 2 }, each.output, each.leastMargin).label, each.label);
  }
  assert.ok(labelled > 5);
});

test("calls__what_a_dapp_wishes__are_the_same_calldata", () => {
  for (const each of cases("calls") as { now: number; wishes: Json; service: Hex; prompt: Hex; params: Hex; quote: Hex; request: Hex }[]) {
    const { valueWei, callbackGasPriceWei, ...plain } = each.wishes as Record<string, never>;
    const wishes = { ...plain, valueWei: BigInt(valueWei ?? 0), callbackGasPriceWei: BigInt(callbackGasPriceWei ?? 0) };
    const params = paramsAt(BigInt(each.now), wishes as unknown as Wishes);
    const kind = getAbiItem({ abi: oracleAbi, name: "quote" }).inputs[2];
    assert.equal(encodeAbiParameters([kind], [params]), each.params);
    const size = BigInt(hexToBytes(each.prompt).length);
    const abi = oracleAbi;
    assert.equal(encodeFunctionData({ abi, functionName: "quote", args: [each.service, size, params] }), each.quote);
    assert.equal(encodeFunctionData({ abi, functionName: "request", args: [each.service, each.prompt, params] }), each.request);
  }
});

test("quotes__what_the_contract_returns__are_the_same_prices", () => {
  for (const each of cases("quotes") as Record<string, string>[]) {
    const data = each["returned"] as Hex;
    const [fee, callback, forfeit] = decodeFunctionResult({ abi: oracleAbi, functionName: "quote", data });
    assert.deepEqual(
      [fee, callback, forfeit, fee + callback].map(String),
      [each["feeWei"], each["callbackWei"], each["forfeitWei"], each["totalWei"]],
    );
  }
});

test("requests__any_words__have_the_same_id", () => {
  for (const each of cases("requests") as unknown as { request: Record<string, string>; id: string; callbackGas: number }[]) {
    const { head, rules, money } = each.request;
    const request = { ...each.request, head: BigInt(head ?? 0), rules: BigInt(rules ?? 0), money: BigInt(money ?? 0) };
    assert.equal(String(requestIdOf(request as unknown as Request)), each.id);
    assert.equal(callbackGasOf(request as unknown as Request), each.callbackGas);
  }
});

test("refusals__every_error_of_the_contracts__has_the_same_name_arguments_and_words", () => {
  assert.ok(cases("refused").length > 100);
  for (const each of cases("refused") as { data: Hex; name: string | null; args: Record<string, string>; message: string }[]) {
    const found = new CallReverted(each.data);
    assert.equal(found.errorName, each.name);
    const args = Object.entries(found.args).map(([name, value]) => [name, text(value)]);
    assert.deepEqual(Object.fromEntries(args), each.args);
    if (each.name === null) assert.ok(found.message.includes(each.message));
    else assert.equal(found.message.replaceAll("true", "True"), each.message);
  }
});

function text(value: unknown): string {
  return typeof value === "boolean" ? (value ? "True" : "False") : String(value);
}

test("refusal__of_a_known_name__has_typed_arguments", () => {
  const data = `0x${"00".repeat(4)}` as Hex;
  assert.equal(new CallReverted(data).is("WrongFee"), false);
  const wrong = cases("refused").find((each) => (each as { name: string }).name === "WrongFee") as unknown as { data: Hex; args: { givenWei: string } };
  const found = new CallReverted(wrong.data);
  assert.ok(found.is("WrongFee"));
  const given: bigint = found.args.givenWei;
  assert.equal(String(given), wrong.args.givenWei);
});

/** What a chain is asked before anything is given; whatever else is asked of it fails. */
const silent = { getChainId: async () => 1, getCode: async () => "0x00" };

test("arguments__that_no_contract_holds__are_refused_by_name_before_the_chain_is_asked", async () => {
  const nobody = `0x${"00".repeat(20)}` as const;
  const wallet = { account: { address: nobody } };
  const client = await OracleClient.at(silent as never, { chain_id: 1, block: 0, oracle: nobody }, wallet as never);
  const service: Hex = `0x${"00".repeat(32)}`;
  const numbers = { maxTokens: 1, temperature: 1, cutoff: 1, callbackGas: 1, callbackGasPriceWei: 1n, deadline: 1, valueFinney: 1 };
  const params: Params = { ...numbers, isPrivate: false };
  const calls: Record<string, (name: string, value: never) => Promise<unknown>> = {
    quote: async (name, value) =>
      client.quote(name === "service" ? value : service, name === "promptBytes" ? value : 5, { ...params, [name]: value }),
    ask: async (_, value) => client.ask(service, value, params),
    params: async (name, value) => client.params({ maxTokens: 8, [name]: value }),
    steps: async (_, value) => client.steps(value),
    cancel: async (_, value) => client.cancel(value),
    refund: async (_, value) => client.refund(value),
    retry: async (name, value) => (name === "requestId" ? client.retry(value) : client.retry(7n, value)),
    credit: async (_, value) => client.credit(value),
    withdraw: async (name, value) => (name === "to" ? client.withdraw(value) : client.withdraw(nobody, value)),
    decided: async (_, value) => decide({ type: "0x", labels: [], leastTokens: 2 }, "0x", value),
  };
  const of = (value: Json): unknown => (value?.whole === undefined ? (value?.bytes ?? value) : BigInt(value.whole));
  const ours = ["07".repeat(32), `0x${"07".repeat(31)}0`, `0x${"0g".repeat(32)}`].map((value) => {
    return { call: "quote", name: "service", value, argument: "service", message: "service is not an id: 32 bytes" };
  });
  for (const { call, name, value, argument, message } of [...cases("malformed"), ...ours]) {
    const made = calls[call]?.(name, of(value) as never);
    const found = await made?.then(String, (error: unknown) => error);
    assert.ok(found instanceof BadArgument, `${call} ${name} ${JSON.stringify(value)}: ${found}`);
    assert.deepEqual([found.argument, found.message], [argument, message]);
  }
});

test("arguments__that_are_no_text_or_no_hexadecimal__are_refused_by_name", async () => {
  const deployment = { chain_id: 1, block: 0, oracle: `0x${"00".repeat(20)}` } as const;
  const client = await OracleClient.at(silent as never, deployment);
  const named = (argument: string) => (error: unknown) => error instanceof BadArgument && error.argument === argument;
  await assert.rejects(OracleClient.at(silent as never, { ...deployment, oracle: "0x07" }), named("oracle"));
  for (const text of [7, null, undefined]) {
    await assert.rejects(client.askText("0x", text as never, { maxTokens: 8 }), named("text"));
    assert.throws(() => textPrompt(text as never), named("prompt"));
  }
  for (const hex of ["0x1", "0xzz", "12", null] as never[]) {
    assert.throws(() => choice(hex, ["yes", "no"]), named("type"));
    assert.throws(() => typedPrompt(hex, textPrompt("?")), named("type"));
    assert.throws(() => choiceType([[1], [2]], hex), named("root"));
    assert.throws(() => verdictOf(hex), named("output"));
    assert.throws(() => pattern({ type: "boolean" }, { root: hex }), named("root"));
  }
});

test("tokens__of_an_answer__have_the_same_roots", () => {
  for (const each of cases("tokens") as unknown as (Tokens & { root: Hex; panelRoot: Hex })[]) {
    assert.equal(tokensRoot(each), each.root);
    assert.equal(panelTokensRoot(each.output), each.panelRoot);
    assert.notEqual(tokensRoot({ ...each, output: [...each.output, 1], ends: [...each.ends, 9] }), each.root);
    assert.throws(() => tokensRoot({ ...each, ends: [...each.ends, 1] }), Refused);
  }
  assert.throws(() => tokensRoot({ prompt: [], output: [], ends: [] }), Refused);
  assert.throws(() => panelTokensRoot([]), Refused);
});
