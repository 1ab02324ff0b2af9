import type { Worker } from "@twilio/flex-sdk";

/** The worker of the signed-in person, once it is connected. */
let connected: Worker | null = null;

export function setWorker(worker: Worker | null): void {
  connected = worker;
}

/** Whether the agent has work or is available for work. While this is true, the session does not become idle. */
export function isActive(): boolean {
  return Boolean(connected?.activity?.available) || (connected?.reservations.size ?? 0) > 0;
}
