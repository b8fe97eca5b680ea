import { expect, test } from "vitest";
import { type SocketLike, websocket } from "../../src/transports/websocket.js";
import { CONNECT, PING, open } from "./fake.js";

class Socket implements SocketLike {
  static last: Socket;
  binaryType = "";
  onopen: (() => void) | null = null;
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly sent: unknown[] = [];
  closed: unknown;
  readonly url: string;

  constructor(url: string) {
    this.url = url;
    Socket.last = this;
  }

  send(data: unknown): void {
    this.sent.push(data);
  }

  close(code?: number, reason?: string): void {
    this.closed = [code, reason];
  }
}

test("the first flight and the probe go out with the opening, which the attempt's id can be asked about", () => {
  const { log, messages, link } = open(() => websocket(Socket));
  expect(Socket.last.url).toBe("wss://realm.test/prefix/throughline/v1/websocket?id=a");
  expect(Socket.last.sent).toEqual([]);
  Socket.last.onopen?.();
  expect(Socket.last.sent).toEqual([CONNECT, PING]);
  Socket.last.onmessage?.({ data: "text" });
  Socket.last.onmessage?.({ data: new Uint8Array([1, 2]).buffer });
  expect(messages).toEqual(["text", new Uint8Array([1, 2])]);
  expect(link.receivedBytes).toBe(6);
  Socket.last.onclose?.({ code: 4000, reason: "drain" });
  expect(log).toEqual(["opened", [4000, "drain", undefined]]);
});

test("after its close nothing is heard", () => {
  const { log, link } = open(() => websocket(Socket));
  link.close(4001, "x".repeat(200));
  expect(Socket.last.closed).toEqual([4001, "x".repeat(41)]);
  Socket.last.onclose?.({ code: 1006, reason: "" });
  expect(log).toEqual([]);
});
