import { useFlexClient, useFlexgate } from "@flexgate/web/react";
import { AcceptTask, createClient, RejectTask, SetCurrentActivity, type Client, type Worker } from "@twilio/flex-sdk";
import { useEffect, useState } from "react";

import { setWorker } from "./work";

const create = (token: string): Promise<Client> => createClient(token, { telemetryOptions: { disabled: true } });

/** The worker's activity and its work. A renewal interrupts neither. */
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
      <section className="card" aria-label="Your work">
        {worker.reservations.size === 0 && <p className="quiet">No work for you now.</p>}
        {[...worker.reservations.values()].map((reservation) => (
          <article key={reservation.sid}>
            <p>{reservation.task.taskChannelUniqueName}: {reservation.status}</p>
            {reservation.status === "pending" && (
              <div className="row">
                <button type="button" onClick={() => run(client.execute(new AcceptTask(reservation.task.sid)))}>Accept</button>
                <button type="button" onClick={() => run(client.execute(new RejectTask(reservation.task.sid)))}>Reject</button>
              </div>
            )}
          </article>
        ))}
      </section>
      <button type="button" onClick={() => run(renew())}>Renew now</button>
      {trouble && <p className="card notice" data-tone="warn" role="alert">{trouble}</p>}
    </>
  );
}

const CHANGES = ["ready", "activityUpdated", "reservationCreated", "disconnected", "error"] as const;
const ENDS = ["accepted", "rejected", "canceled", "timeout", "rescinded", "completed", "wrapup"] as const;

/** Connects the worker, and renders again when it or its work changes. */
function useWorker(client: Client | null): Worker | null {
  const [worker, show] = useState<Worker | null>(null);
  const [, again] = useState(0);
  useEffect(() => {
    if (!client) return;
    let over = false;
    let connected: Worker | null = null;
    const change = () => again((count) => count + 1);
    const created = (reservation: { on(event: string, listener: () => void): unknown }) => {
      for (const end of ENDS) reservation.on(end, change);
    };
    void client.getWorker().then((ready) => {
      if (over) return;
      connected = ready;
      for (const event of CHANGES) ready.on(event, change);
      ready.on("reservationCreated", created);
      setWorker(ready);
      show(ready);
    });
    return () => {
      over = true;
      for (const event of CHANGES) connected?.off(event, change);
      connected?.off("reservationCreated", created);
      setWorker(null);
    };
  }, [client]);
  return worker;
}
