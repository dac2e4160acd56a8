/**
 * A typed client for dapps on viem: ask, follow to the end, take money back.
 *
 * What a contract refuses is thrown as CallReverted, with the error's name and arguments, before anything is sent; what
 * no contract could be told, as BadArgument, before the chain is asked.
 */

import {
  type Abi,
  type Account,
  type Address,
  BaseError,
  bytesToHex,
  type Chain,
  decodeEventLog,
  formatLog,
  type Hash,
  type Hex,
  keccak256,
  type Log,
  type PublicClient,
  type TransactionReceipt,
  toHex,
  type Transport,
  type WalletClient,
} from "viem";

import { type Decided, decide } from "./answers.js";
import { Refused, refusals, TimedOut, TransactionFailed } from "./errors.js";
import { oracleAbi } from "./generated/abi.js";
import { addressOf, paramsOf, promptOf, requestOf, serviceOf, textOf, whole } from "./given.js";
import { type Choice, leastTokensOf, textPrompt, typedPrompt } from "./prompts.js";
import { type Answer, callbackGasOf, type Params, paramsAt, type Request, requestIdOf, type Wishes } from "./requests.js";
import { panelTokensRoot, type Tokens, tokensRoot } from "./tokens.js";

const CLOSING = new Set<string>(["RequestFinalized", "RequestRefunded", "RequestCancelled"]);
const LEAST_RANGE = 1n;

/** Addresses of one deployment; `deployment.json` of `didyma dev` has them, and more. */
export interface Deployment {
  readonly chain_id: number;
  /** Block of the first contract: no event is older. */
  readonly block: number;
  readonly oracle: Address;
}

/** What a request costs. */
export interface Quote {
  /** For the answer at most; tokens not produced are given back. */
  readonly feeWei: bigint;
  /** To whoever finalizes. */
  readonly callbackWei: bigint;
  /** Part of the fee: the most that is not refunded if nobody answers. */
  readonly forfeitWei: bigint;
  /** What must be sent. */
  readonly totalWei: bigint;
}

/** One event in a request's life. */
export interface Step {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly block: bigint;
  readonly transaction: Hash;
}

/** A request that was sent. */
export interface Asked {
  readonly requestId: bigint;
  readonly receipt: TransactionReceipt;
}

/** A request's life so far: everything that later calls pass back. */
export interface Life {
  readonly requestId: bigint;
  readonly request: Request;
  readonly prompt: Hex;
  /** The newest answer; null before there is one. */
  readonly answer: Answer | null;
  readonly output: Hex | null;
  /** Whether an answer became final. */
  readonly isFinal: boolean;
  readonly steps: readonly Step[];
}

/** How often `follow` looks, and until when. */
export interface Patience {
  readonly fromBlock?: bigint;
  /** 500 if not given. */
  readonly pollMillis?: number;
  /** An hour if not given. */
  readonly timeoutSeconds?: number;
}

type Reader = PublicClient<Transport, Chain | undefined>;
type Writer = WalletClient<Transport, Chain | undefined, Account>;

/** One account's view of one deployment. */
export class OracleClient {
  private constructor(
    readonly chain: Reader,
    readonly deployment: Deployment,
    private readonly wallet: Writer | null,
  ) {}

  /** Throws Refused where the endpoint serves another chain, or one without these contracts. wallet: for what sends. */
  static async at(chain: Reader, deployment: Deployment, wallet: Writer | null = null): Promise<OracleClient> {
    addressOf("oracle", deployment.oracle);
    const found = await chain.getChainId();
    if (found !== deployment.chain_id) {
      throw new Refused(`the endpoint serves chain ${found}, the deployment is on ${deployment.chain_id}`);
    }
    if ((await chain.getCode({ address: deployment.oracle })) === undefined) {
      throw new Refused("the chain has no contract where the deployment says: it is another's, or was restarted");
    }
    return new OracleClient(chain, deployment, wallet);
  }

  /** Address of the account that sends. Throws Refused where there is none. */
  get address(): Address {
    return this.sender.account.address;
  }

  /* ASKING */

  /** Parameters of a request that is sent now. Throws BadArgument. */
  async params(wishes: Wishes): Promise<Params> {
    paramsAt(1n << 47n, wishes); // what is wrong with them is said before the chain is asked
    const { timestamp } = await this.chain.getBlock({ blockTag: "latest" });
    return paramsAt(timestamp, wishes);
  }

  /** What a request with a prompt of so many bytes costs. Throws BadArgument, CallReverted. */
  async quote(service: Hex, promptBytes: number, params: Params): Promise<Quote> {
    const args = [serviceOf(service), whole("promptBytes", promptBytes, 256), paramsOf(params)] as const;
    const call = { ...this.oracle, functionName: "quote", args } as const;
    const [feeWei, callbackWei, forfeitWei] = await refusals(async () => this.chain.readContract(call));
    return { feeWei, callbackWei, forfeitWei, totalWei: feeWei + callbackWei };
  }

  /**
   * Sends a request and pays exactly what it costs. prompt: as `textPrompt` and others make it. Throws Refused for a typed
   * one, not sealed, whose answer may need more than `maxTokens`.
   */
  async ask(service: Hex, prompt: Uint8Array, params: Params): Promise<Asked> {
    const size = promptOf(prompt).length;
    const least = paramsOf(params).isPrivate ? 0 : leastTokensOf(prompt);
    if (params.maxTokens < least) throw new Refused(`maxTokens ${params.maxTokens}: an answer of this type may need ${least}`);
    const { totalWei } = await this.quote(service, size, params);
    const receipt = await this.send("request", [service, bytesToHex(prompt), params], totalWei);
    return { requestId: this.requestIn(receipt), receipt };
  }

  /** Asks words, of a service whose prompts have a kind. Throws Refused for none, CallReverted. */
  async askText(service: Hex, text: string, wishes: Wishes): Promise<Asked> {
    if (textOf(text).trim() === "") throw new Refused("the prompt is empty: ask something");
    return this.ask(service, textPrompt(text), await this.params(wishes));
  }

  /** Asks words whose answer is one of a few. Throws Refused where `maxTokens` is too small for the longest choice. */
  async askChoice(
    service: Hex,
    choice: Choice<string>,
    text: string,
    wishes: Partial<Wishes> = {},
  ): Promise<Asked> {
    if (textOf(text).trim() === "") throw new Refused("the prompt is empty: ask something");
    const maxTokens = wishes.maxTokens ?? choice.leastTokens;
    return this.ask(service, typedPrompt(choice.type, textPrompt(text)), await this.params({ ...wishes, maxTokens }));
  }

  /** The id of the first request that a transaction made, directly or through a dapp. Throws Refused for none. */
  requestIn(receipt: TransactionReceipt): bigint {
    const posted = receipt.logs.map((log) => this.event(log)).find((step) => step?.name === "RequestPosted");
    if (posted == null) throw new Refused(`transaction ${receipt.transactionHash} made no request`);
    return posted.args["requestId"] as bigint;
  }

  /* WHAT BECAME OF IT */

  /** What has happened to a request, in order. fromBlock: the deployment's if not given. */
  async steps(requestId: bigint, fromBlock = BigInt(this.deployment.block)): Promise<Step[]> {
    const topic = toHex(requestOf(requestId), { size: 32 });
    const toBlock = await this.chain.getBlockNumber({ cacheTime: 0 }); // viem's own would miss what was just asked
    const logs = await this.logs([null, topic], fromBlock, toBlock);
    return logs.map((log) => this.event(log)).filter((step): step is Step => step?.args["requestId"] === requestId);
  }

  /**
   * Each step as it happens, until the request is closed and its consumer was called. Throws TimedOut.
   *
   * A callback fails or is left in the transaction that closes its request: the last step is then CallbackFailed or
   * CallbackLeft.
   */
  async *follow(requestId: bigint, patience: Patience = {}): AsyncGenerator<Step, void, undefined> {
    const pollMillis = patience.pollMillis ?? 500;
    const mostMillis = 1000 * (patience.timeoutSeconds ?? 3600);
    const seen = new Set<string>();
    for (let waited = 0; ; waited += pollMillis) {
      const order = new Map<Hash, number>(); // a transaction may hold several events of one name
      let isClosed = false;
      for (const step of await this.steps(requestId, patience.fromBlock)) {
        const count = (order.get(step.transaction) ?? 0) + 1;
        order.set(step.transaction, count);
        const key = `${step.transaction} ${count}`;
        if (!seen.has(key)) {
          seen.add(key);
          yield step;
        }
        isClosed ||= CLOSING.has(step.name);
      }
      if (isClosed) return;
      if (waited >= mostMillis) throw new TimedOut(`request ${shown(requestId)} is still open after ${mostMillis / 1000} s`);
      await new Promise((resolve) => setTimeout(resolve, pollMillis));
    }
  }

  /** Waits until a request is closed. Throws TimedOut. */
  async finished(requestId: bigint, patience: Patience = {}): Promise<Life> {
    for await (const _ of this.follow(requestId, patience));
    return this.life(requestId, patience.fromBlock);
  }

  /** A request's life so far. Throws Refused where the endpoint knows none of that id, or contradicts itself. */
  async life(requestId: bigint, fromBlock?: bigint): Promise<Life> {
    const steps = await this.steps(requestId, fromBlock);
    const posted = steps.find((step) => step.name === "RequestPosted");
    if (posted === undefined) {
      throw new Refused(`no request ${shown(requestId)} on this deployment, or the endpoint has forgotten its events`);
    }
    const request = posted.args["request"] as Request;
    const prompt = posted.args["prompt"] as Hex;
    const answered = steps.filter((step) => step.name === "AnswerPosted").at(-1);
    const answer = (answered?.args["answer"] ?? null) as Answer | null;
    const output = (answered?.args["output"] ?? null) as Hex | null;
    const isTold = requestIdOf(request) === requestId && keccak256(prompt) === request.promptHash;
    if (!isTold || (answer !== null && keccak256(output as Hex) !== answer.outputHash)) {
      throw new Refused(`the endpoint contradicts itself about request ${shown(requestId)}. Ask another one`);
    }
    const isFinal = steps.some((step) => step.name === "RequestFinalized");
    return { requestId, request, prompt, answer, output, isFinal, steps };
  }

  /** What a closed request was answered with, in the words of its choice: "unknown" where no answer became final. */
  decided<Label extends string>(life: Life, choice: Choice<Label>, leastMargin = 0): Decided<Label> {
    return decide(choice, life.isFinal && life.output !== null ? life.output : "0x", leastMargin);
  }

  /* MONEY AND SECOND TRIES */

  /** What an account, or this one, may withdraw, in wei. */
  async credit(account: Address = this.address): Promise<bigint> {
    return this.chain.readContract({ ...this.oracle, functionName: "credit", args: [addressOf("account", account)] });
  }

  /** Takes credit of this account: all of it, to itself, unless told otherwise. Throws Refused for none, CallReverted. */
  async withdraw(to: Address = this.address, amountWei?: bigint): Promise<TransactionReceipt> {
    const receiver = addressOf("to", to);
    const amount = amountWei === undefined ? await this.credit() : whole("amountWei", amountWei, 256);
    if (amount === 0n) throw new Refused(`${this.address} has no credit: nothing to withdraw`);
    return this.send("withdraw", [receiver, amount]);
  }

  /** Takes an unanswered request of this account back. */
  async cancel(requestId: bigint): Promise<TransactionReceipt> {
    return this.send("cancel", [(await this.life(requestId)).request]);
  }

  /** Has the payer of a request refunded whose deadline passed unanswered. */
  async refund(requestId: bigint): Promise<TransactionReceipt> {
    return this.send("refund", [(await this.life(requestId)).request]);
  }

  /**
   * Repeats a callback that failed, or makes one that was left: that one pays this account what it escrowed.
   * callbackGas: as bought, if not given.
   */
  async retry(requestId: bigint, callbackGas?: number): Promise<TransactionReceipt> {
    const gas = callbackGas === undefined ? undefined : whole("callbackGas", callbackGas, 256);
    const { request, answer, output, steps } = await this.life(requestId);
    const names = new Set(steps.map((step) => step.name));
    if (!names.has("CallbackFailed") && !names.has("CallbackLeft")) {
      throw new Refused(`no callback of request ${shown(requestId)} has failed or was left: there is nothing to repeat`);
    }
    if (names.has("CallbackRetried")) {
      throw new Refused(`the callback of request ${shown(requestId)} was delivered already`);
    }
    const item = { request, answer: answer as Answer, output: output as Hex };
    return this.send("retryCallback", [item, gas ?? BigInt(callbackGasOf(request))]);
  }

  /** Whether these tokens are the ones that the request's newest answer commits to. */
  holdsTokens(life: Life, tokens: Tokens, judge: "game" | "panel" = "game"): boolean {
    const root = judge === "game" ? tokensRoot(tokens) : panelTokensRoot(tokens.output);
    return life.answer !== null && life.answer.tokensRoot === root;
  }

  /* INTERNALS */

  private get oracle() {
    return { address: this.deployment.oracle, abi: oracleAbi } as const;
  }

  private get sender(): Writer {
    if (this.wallet?.account === undefined) throw new Refused("this client has no wallet with an account: give it one to send");
    return this.wallet;
  }

  /** Simulates, sends and waits. Throws CallReverted before anything is sent, TransactionFailed after. */
  private async send(functionName: string, args: readonly unknown[], value = 0n): Promise<TransactionReceipt> {
    const wallet = this.sender;
    const call = { address: this.deployment.oracle, abi: oracleAbi as Abi, functionName, args, value } as const;
    await refusals(async () => this.chain.simulateContract({ ...call, account: wallet.account }));
    const hash = await wallet.writeContract({ ...call, account: wallet.account, chain: wallet.chain ?? null });
    const receipt = await this.chain.waitForTransactionReceipt({ hash, pollingInterval: 200 });
    if (receipt.status !== "success") throw new TransactionFailed(hash);
    return receipt;
  }

  /** The oracle's event; null for a log that is none, or malformed: endpoints may add to what was asked for. */
  private event(log: Log): Step | null {
    if (log.address.toLowerCase() !== this.deployment.oracle.toLowerCase()) return null;
    if (log.blockNumber === null || log.transactionHash === null) return null;
    try {
      const { eventName, args } = decodeEventLog({ abi: oracleAbi, topics: log.topics, data: log.data });
      return { name: eventName, args: { ...args }, block: log.blockNumber, transaction: log.transactionHash };
    } catch {
      return null;
    }
  }

  /** Logs of the oracle in a range; where an endpoint refuses it, of its halves. */
  private async logs(topics: (Hex | null)[], fromBlock: bigint, toBlock: bigint): Promise<Log[]> {
    if (fromBlock > toBlock) return [];
    try {
      return await this.range(topics, fromBlock, toBlock);
    } catch (error) {
      if (!(error instanceof BaseError) || toBlock - fromBlock < LEAST_RANGE) throw error;
      const middle = (fromBlock + toBlock) / 2n;
      const first = await this.logs(topics, fromBlock, middle);
      return [...first, ...(await this.logs(topics, middle + 1n, toBlock))];
    }
  }

  private async range(topics: (Hex | null)[], fromBlock: bigint, toBlock: bigint): Promise<Log[]> {
    const bounds = { fromBlock: toHex(fromBlock), toBlock: toHex(toBlock) };
    const filter = { address: this.deployment.oracle, topics, ...bounds };
    // viem's own filter takes no null between topics, which stands for any.
    const found = await this.chain.request({ method: "eth_getLogs", params: [filter as never] });
    return found.map((log) => formatLog(log));
  }
}

function shown(requestId: bigint): Hex {
  return toHex(requestId, { size: 32 });
}
