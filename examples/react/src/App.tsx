import { useFlexgate } from "@flexgate/web/react";
import { Suspense } from "react";

import { Boundary } from "./Boundary";
import { Desk } from "./Desk";

/** Shows the view for the state of the session. */
export function App() {
  const { status, session, error, signIn, signOut, reload, retryClient } = useFlexgate();
  if (status === "checking") return <main><p>One moment…</p></main>;
  if (status === "failed") {
    return (
      <main>
        <h1 className="title">We could not check whether you are signed in</h1>
        <p>{error.message}</p>
        <button type="button" onClick={() => void reload()}>Try again</button>
      </main>
    );
  }
  if (status === "signed_out") {
    return (
      <main>
        <h1 className="title">Sign in to start your shift</h1>
        {error && <p className="card notice" role="status">{error.message}</p>}
        <button type="button" className="primary" onClick={() => signIn()}>Sign in</button>
      </main>
    );
  }
  return (
    <main>
      <header>
        <h1 className="title">{session.username}</h1>
        <button type="button" onClick={() => void signOut()}>Sign out</button>
      </header>
      {error && <p className="card notice" role="status">Your sign-in could not be renewed yet. You can go on working; we are trying again.</p>}
      <Boundary again={retryClient}>
        <Suspense fallback={<p role="status">Connecting…</p>}>
          <Desk />
        </Suspense>
      </Boundary>
    </main>
  );
}
