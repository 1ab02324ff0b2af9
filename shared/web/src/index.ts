/**
 * Flexgate for front ends: signs in, gets the Flex token, keeps the token valid in every part of the Flex SDK and in
 * every tab, and signs out.
 *
 * It has no dependencies and stores nothing. It works in browsers and in Node 20. Import it from `@flexgate/web`.
 *
 * @module core
 */

export { timeLeft } from "./clock.js";
export { type Failure, FlexgateError } from "./error.js";
export { createFlexgate, type Flexgate, type FlexgateOptions, type SignInOptions } from "./gateway.js";
export type { Keeper, KeeperEvents, KeepFreshOptions, Trouble } from "./keeper.js";
export type { FlexClient, SignOutClient, SignOutWorker, TokenHolder, WorkerActivity } from "./sdk.js";
export type { Session } from "./session.js";
