/** Didyma for dapps: ask the oracle, follow a request to its end, and take money back. */

export { type Decided, decide, type Verdict, verdictOf } from "./answers.js";
export {
  type Asked,
  type Deployment,
  type Life,
  OracleClient,
  type Patience,
  type Quote,
  type Step,
} from "./client.js";
export { BadArgument, CallReverted, DidymaError, type ErrorArguments, type ErrorName, Refused, TimedOut, TransactionFailed } from "./errors.js";
export { type Pattern, pattern, type SelfDescribing, type Vocabulary } from "./patterns.js";
export {
  type Choice,
  choice,
  choiceType,
  type Enumeration,
  idsPrompt,
  type Part,
  partsPrompt,
  PromptKind,
  textPrompt,
  typedPrompt,
} from "./prompts.js";
export { type Answer, type Params, paramsAt, type Request, requestIdOf, tokenCountOf, type Wishes } from "./requests.js";
export { panelTokensRoot, type Tokens, tokensRoot } from "./tokens.js";
