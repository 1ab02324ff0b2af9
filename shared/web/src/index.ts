/**
 * Flexgate for front ends: signs in, gets the Flex token, keeps the token valid in every part of the Flex SDK and in
 * every tab, signs out.
 *
 * It has no dependencies and stores nothing. It works in browsers and in Node 20.
 *
 * @packageDocumentation
 */

export { timeLeft } from "./clock.js";
export { type Failure, FlexgateError } from "./error.js";
export { createFlexgate, type Flexgate, type FlexgateOptions, type SignInOptions } from "./gateway.js";
export type { Keeper, KeeperEvents, KeepFreshOptions } from "./keeper.js";
export type { FlexClient, SignOutClient, TokenHolder } from "./sdk.js";
export type { Session } from "./session.js";
