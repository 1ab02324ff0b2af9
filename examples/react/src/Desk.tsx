import { useFlexClient, useFlexgate } from "@flexgate/web/react";
import { createClient, SetCurrentActivity, type Client, type Worker } from "@twilio/flex-sdk";
import { useEffect, useState } from "react";

import { setWorker } from "./active";
import { Work } from "./Work";

const create = (token: string): Promise<Client> => createClient(token, { telemetryOptions: { disabled: true } });

/** The worker's activity and work. Renewing the token interrupts neither. */
export function Desk() {
  const client = useFlexClient(create);
  const { renew } = useFlexgate();
  const worker = useWorker(client);
  const [trouble, setTrouble] = useState("");
  if (!client || !worker) return <p role="status">Connecting…</p>;

  const run = (work: Promise<unknown>) => {
    setTrouble("");
    work.catch((error: Error) => setTrouble(error.message));
  };
  return (
    <>
      <section className="card" aria-label="Your activity">
        <p>You are <strong>{worker.activity?.name ?? "not known yet"}</strong></p>
        <div className="row">
          {[...worker.activities.values()].map(({ sid, name }) => (
            <button key={sid} type="button" aria-pressed={sid === worker.activity?.sid} onClick={() => run(client.execute(new SetCurrentActivity(sid)))}>
              {name}
            </button>
          ))}
        </div>
      </section>
      <Work client={client} worker={worker} run={run} />
      <button type="button" onClick={() => run(renew())}>Renew now</button>
      {trouble && <p className="card notice" data-tone="warn" role="alert">{trouble}</p>}
    </>
  );
}

const CHANGES = ["ready", "activityUpdated", "disconnected", "error"] as const;

/** Connects the worker, and renders again when it changes. */
function useWorker(client: Client | null): Worker | null {
  const [worker, show] = useState<Worker | null>(null);
  const [, again] = useState(0);
  useEffect(() => {
    if (!client) return;
    let over = false;
    let connected: Worker | null = null;
    const change = () => again((count) => count + 1);
    void client.getWorker().then((ready) => {
      if (over) return;
      connected = ready;
      for (const event of CHANGES) ready.on(event, change);
      setWorker(ready);
      show(ready);
    });
    return () => {
      over = true;
      for (const event of CHANGES) connected?.off(event, change);
      setWorker(null);
    };
  }, [client]);
  return worker;
}
