/**
 * Flexgate for React 18 and 19. `FlexgateProvider` holds the session, `useFlexgate` returns it, and `useFlexClient`
 * makes the client of the Flex SDK. Import them from `@flexgate/web/react`.
 *
 * @module react
 */

import { createContext, createElement, type ReactNode, useContext, useEffect, useRef, useState, useSyncExternalStore } from "react";

import type { FlexgateOptions, Session, SignInOptions } from "../src/index.js";
import { type DestroyableClient, type FlexgateState, FlexgateStore } from "./store.js";

export type {
  CheckingState,
  DestroyableClient,
  FailedState,
  FlexgateState,
  SignedInState,
  SignedOutState,
} from "./store.js";

/** The properties of `FlexgateProvider`. */
export interface FlexgateProviderProps extends FlexgateOptions {
  /**
   * Returns true while the person does work that `keepFresh` cannot detect, for example on a call. While the person
   * works, the session does not become idle.
   */
  isActive?: (() => boolean) | undefined;
  /** The part of the page that uses the session. */
  children?: ReactNode;
}

/** The session, and functions that act on the session. The functions are the same on every render. */
export type FlexgateHook = FlexgateState & {
  /** Leaves the page and opens the sign-in. Afterwards the browser comes back. */
  signIn(options?: SignInOptions): void;
  /**
   * Ends the session in every tab. If that fails, rejects with a `FlexgateError`. The person might then still be
   * signed in.
   */
  signOut(): Promise<void>;
  /** Renews the token now. Resolves with null if nobody is signed in. Rejects if the renewal fails. */
  renew(): Promise<Session | null>;
  /** Asks the gateway again who is signed in, for example in the state `failed`. */
  reload(): Promise<void>;
  /** Creates the SDK's client again after `useFlexClient` has failed. */
  retryClient(): void;
};

const Context = createContext<FlexgateStore | null>(null);

/**
 * Provides the session to all components inside it. Later renders can change `isActive`, but no other option.
 *
 * @param props - Where the gateway is, and the part of the page that uses the session.
 */
export function FlexgateProvider({ children, isActive, ...options }: FlexgateProviderProps): ReactNode {
  const active = useRef(isActive);
  useEffect(() => {
    active.current = isActive;
  });
  const [store] = useState(() => new FlexgateStore(options, () => active.current?.() ?? false));
  useEffect(store.start, [store]);
  return createElement(Context.Provider, { value: store }, children);
}

function useStore(): FlexgateStore {
  const store = useContext(Context);
  if (!store) throw new Error("useFlexgate and useFlexClient need a FlexgateProvider around them");
  useSyncExternalStore(store.subscribe, store.current, store.current);
  return store;
}

/**
 * Returns the session, and functions that act on it. The component renders again when the session changes. Throws
 * outside a `FlexgateProvider`.
 */
export function useFlexgate(): FlexgateHook {
  const store = useStore();
  const [actions] = useState(() => ({
    signIn: (options?: SignInOptions) => store.gate.signIn(options),
    signOut: async () => {
      await store.gate.signOut();
      await store.load();
    },
    renew: store.renew,
    reload: store.load,
    retryClient: store.retryClient,
  }));
  return { ...store.state, ...actions };
}

/**
 * Returns the SDK's client, or null if nobody is signed in. Suspends while `create` makes the client. If `create`
 * fails, throws its error, which an error boundary can show. The page has one client. That client gets each new token,
 * and is destroyed when the session ends.
 *
 * @param create - Makes a client with this token, usually with the SDK's `createClient`.
 */
export function useFlexClient<Client extends DestroyableClient>(create: (token: string) => Promise<Client>): Client | null {
  const pending = useStore().client(create);
  if (!pending) return null;
  if (pending.status === "pending") throw pending.promise;
  if (pending.status === "rejected") throw pending.reason;
  return pending.value as Client;
}
