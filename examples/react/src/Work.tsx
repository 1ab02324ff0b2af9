import {
  AcceptTask,
  AddTaskParticipantListener,
  CompleteTask,
  EndTask,
  GetTaskParticipants,
  HoldVoiceParticipant,
  RejectTask,
  UnholdVoiceParticipant,
} from "@twilio/flex-sdk";
import type { Client, TaskParticipant, VoiceTaskParticipant, Worker } from "@twilio/flex-sdk";
import { useEffect, useState } from "react";

type Reservation = Worker["reservations"] extends Map<string, infer One> ? One : never;
type Run = (work: Promise<unknown>) => void;

interface Props {
  client: Client;
  worker: Worker;
  /** Runs an action of the SDK, and shows why it failed. */
  run: Run;
}

/** The tasks that the worker has or is offered. */
export function Work({ client, worker, run }: Props) {
  const reservations = useReservations(worker);
  return (
    <section className="card" aria-label="Your work">
      <p className="quiet" role="status">
        {reservations.length === 0 ? "No work for you now." : `Tasks: ${reservations.length}`}
      </p>
      {reservations.map((reservation) => (
        <Item key={reservation.sid} client={client} reservation={reservation} run={run} />
      ))}
    </section>
  );
}

function Item({ client, reservation, run }: { client: Client; reservation: Reservation; run: Run }) {
  const { sid, attributes, taskChannelUniqueName } = reservation.task;
  const { status } = reservation;
  const isCall = taskChannelUniqueName === "voice";
  const caller = useCaller(client, reservation, run);
  const what = isCall ? "Call" : "Task";
  const who = [attributes["name"], attributes["from"]].find((name) => typeof name === "string");
  const title = who ? `${what} from ${who}` : what;
  const state = caller?.isOnHold ? "on hold" : STATES[status] ?? status;
  const execute: Execute = (action) => run(client.execute(action) as Promise<unknown>);
  return (
    <article aria-label={title}>
      <p>{title}: <strong>{state}</strong></p>
      <div className="row">
        {status === "pending" && (
          <>
            <button type="button" className="primary" onClick={() => execute(new AcceptTask(sid))}>Accept</button>
            <button type="button" onClick={() => execute(new RejectTask(sid))}>Reject</button>
          </>
        )}
        {caller && <HoldButton caller={caller} sid={sid} execute={execute} />}
        {isCall && status === "accepted" && (
          <button type="button" onClick={() => execute(new EndTask(sid))}>Hang up</button>
        )}
        {(status === "wrapping" || (!isCall && status === "accepted")) && (
          <button type="button" onClick={() => execute(new CompleteTask(sid))}>Complete</button>
        )}
      </div>
    </article>
  );
}

type Execute = (action: Parameters<Client["execute"]>[0]) => void;

function HoldButton({ caller, sid, execute }: { caller: VoiceTaskParticipant; sid: string; execute: Execute }) {
  const { participantSid, isOnHold } = caller;
  const change = () => execute(new (isOnHold ? UnholdVoiceParticipant : HoldVoiceParticipant)(participantSid, sid));
  return <button type="button" onClick={change}>{isOnHold ? "Resume" : "Hold"}</button>;
}

const STATES: Partial<Record<Reservation["status"], string>> = {
  pending: "incoming",
  accepted: "yours",
  wrapping: "wrap-up",
};
const CHANGES = ["accepted", "rejected", "canceled", "timeout", "rescinded", "completed", "wrapup"] as const;

/**
 * The worker's reservations. Renders again when one is added, changes or ends. Each time the SDK has reconnected
 * ("ready"), it creates new objects for the same reservations.
 */
function useReservations(worker: Worker): Reservation[] {
  const [, again] = useState(0);
  useEffect(() => {
    const change = () => again((count) => count + 1);
    const followed = new Set<Reservation>();
    const follow = () => {
      for (const reservation of worker.reservations.values()) {
        if (followed.has(reservation)) continue;
        followed.add(reservation);
        for (const event of CHANGES) reservation.on(event, change);
      }
      change();
    };
    follow();
    worker.on("reservationCreated", follow);
    worker.on("ready", follow);
    return () => {
      worker.off("reservationCreated", follow);
      worker.off("ready", follow);
      for (const reservation of followed) for (const event of CHANGES) reservation.off(event, change);
    };
  }, [worker]);
  return [...worker.reservations.values()];
}

const isCaller = (one: TaskParticipant): one is VoiceTaskParticipant =>
  String(one.type) === "customer" && "isOnHold" in one;

/**
 * The customer in the current call, and whether the customer is on hold. Asks again each time the SDK has reconnected,
 * because the SDK does not get the events that happened while it was disconnected.
 */
function useCaller(client: Client, reservation: Reservation, run: Run): VoiceTaskParticipant | null {
  const [caller, show] = useState<VoiceTaskParticipant | null>(null);
  const { sid, taskChannelUniqueName } = reservation.task;
  const isGoingOn = taskChannelUniqueName === "voice" && reservation.status === "accepted";
  useEffect(() => {
    if (!isGoingOn) {
      show(null);
      return;
    }
    let over = false;
    let stop = () => {};
    const read = async () => {
      const participants = await client.execute(new GetTaskParticipants(sid));
      if (!over) show(participants.find(isCaller) ?? null);
    };
    const listen = async () => {
      const changed = () => run(read());
      const listener = new AddTaskParticipantListener(sid, "participantModified", changed);
      const { unsubscribe } = await client.execute(listener);
      if (over) unsubscribe();
      else stop = unsubscribe;
      await read();
    };
    run(listen());
    return () => {
      over = true;
      stop();
    };
  }, [client, reservation, isGoingOn]);
  return caller;
}
