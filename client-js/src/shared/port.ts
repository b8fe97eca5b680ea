// A tab's link to the shared worker, which stands in for the realm.

import { CloseCode } from "../close.js";
import type { Frame } from "../messages.js";
import type { LinkHandlers, LinkOptions, Transport } from "../transports/transport.js";
import type { Asked, PortLike, Told } from "./talk.js";

/** A worker that was started, or found. */
export interface WorkerLike {
  readonly port: PortLike;
  onerror: ((event: never) => unknown) | null;
}

export class PortTransport implements Transport {
  /** It is as quick, and carries bytes. */
  readonly name = "websocket";
  readonly binary = true;
  readonly rotateBytes = Infinity;
  readonly #start: () => WorkerLike;
  readonly #told: (message: Told) => void;
  #port: PortLike | undefined;
  /** The last publish number that was sent. */
  #sent = 0;

  constructor(start: () => WorkerLike, told: (message: Told) => void) {
    this.#start = start;
    this.#told = told;
  }

  available(): boolean {
    return true;
  }

  ask(message: Asked): void {
    this.#port?.postMessage(message);
  }

  open(_base: URL, handlers: LinkHandlers, { first, probe }: LinkOptions): { receivedBytes: number; send(frame: Frame): void; close(): void } {
    const worker = this.#start();
    const { port } = worker;
    this.#port = port;
    worker.onerror = () => handlers.closed(CloseCode.overloaded, "the script of the shared worker could not be loaded");
    port.onmessage = ({ data }) => {
      if (typeof data === "string" || ArrayBuffer.isView(data)) handlers.message(data as Frame);
      else this.#told(data as Told);
    };
    this.ask({ ask: "resume", sent: this.#sent });
    const send = (frame: Frame): void => {
      this.#sent = Math.max(this.#sent, publishNumber(frame));
      port.postMessage(frame);
    };
    for (const frame of [...first, probe]) send(frame);
    queueMicrotask(() => handlers.opened());
    return {
      receivedBytes: 0,
      send,
      close(): void {
        port.onmessage = worker.onerror = null;
        port.postMessage('{"type":"close"}');
        port.close();
      },
    };
  }
}

/** 0 for messages that are no publish. */
function publishNumber(frame: Frame): number {
  const head = typeof frame === "string" ? frame.slice(0, 50) : new TextDecoder().decode(frame.subarray(4, 54));
  return Number(/^{"type":"publish","id":(\d+)/.exec(head)?.[1] ?? 0);
}
