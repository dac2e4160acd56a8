/** Deploys the critic, asks it, and waits until it was called back. */

import { OracleClient } from "didyma";
import type { DevNetwork } from "didyma/dev";
import hre from "hardhat";
import { createPublicClient, createWalletClient, http, parseGwei, stringToHex } from "viem";
import { mnemonicToAccount } from "viem/accounts";

// Public: the accounts of every development chain.
const MNEMONIC = "test test test test test test test test test test test junk";

/** What the critic heard about a review: 1 negative, 2 positive. */
export async function heard(dev: DevNetwork, review: string): Promise<number> {
  const transport = http(dev.rpcUrl);
  const account = mnemonicToAccount(MNEMONIC, { addressIndex: 2 });
  const chain = createPublicClient({ transport, cacheTime: 0 });
  const wallet = createWalletClient({ account, transport });
  const { abi, bytecode } = await hre.artifacts.readArtifact("Critic");

  const args = [dev.deployment.oracle, dev.service] as const;
  const made = await wallet.deployContract({ abi, bytecode: bytecode as `0x${string}`, args, chain: null });
  const { contractAddress } = await chain.waitForTransactionReceipt({ hash: made });
  if (contractAddress == null) throw new Error("the critic was not deployed");
  const critic = { address: contractAddress, abi } as const;

  const words = stringToHex(review);
  const gasPriceWei = parseGwei("10");
  const size = BigInt((words.length - 2) / 2);
  const value = (await chain.readContract({ ...critic, functionName: "price", args: [size, gasPriceWei] })) as bigint;
  const hash = await wallet.writeContract({ ...critic, functionName: "ask", args: [words, gasPriceWei], value, chain: null });

  const client = await OracleClient.at(chain, dev.deployment);
  const requestId = client.requestIn(await chain.waitForTransactionReceipt({ hash }));
  for await (const step of client.follow(requestId)) console.log(`${step.name.padEnd(18)} block ${step.block}`);
  return (await chain.readContract({ ...critic, functionName: "moods", args: [requestId] })) as number;
}
