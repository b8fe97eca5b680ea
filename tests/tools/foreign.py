"""Speaks to a realm through the library `websockets`: foreign.py REALM_URL PROBE_URL."""

import asyncio
import json
import sys

from websockets.asyncio.client import connect


async def echo(url: str, compression: str | None) -> None:
    async with connect(url, compression=compression, max_size=None) as link:
        for message in ("", "text", "ä€😀" * 1000, b"\x07" * 200_000, "z" * 500_000):
            await link.send(message)
            answer = await link.recv()
            if answer != message:
                raise SystemExit(f"echo of {len(message)} came back as {len(answer)} (compression {compression})")


async def receive(link, kind: str) -> dict:
    while True:
        message = json.loads(await link.recv())
        if message["type"] == "ping":
            await link.send('{"type":"pong"}')
        if message["type"] == kind:
            return message


async def session(url: str) -> None:
    async with connect(url, subprotocols=["throughline.v1"]) as link:
        if link.subprotocol != "throughline.v1":
            raise SystemExit(f"the subprotocol is {link.subprotocol}")
        await link.send('{"type":"connect","versions":[1],"client":"websockets"}')
        await link.send('{"type":"subscribe","id":1,"channel":"python","from":"new"}')
        await receive(link, "welcome")
        await receive(link, "reply")
        for number in range(2, 102):
            request = {"type": "publish", "id": number, "channel": "python", "data": f"event {number} ä€😀 " + "x" * 600}
            await link.send(json.dumps(request))
            event = await receive(link, "event")
            if event["data"] != request["data"]:
                raise SystemExit(f"event {number} came as {event}")


async def main() -> None:
    realm, probe = sys.argv[1:]
    for compression in ("deflate", None):
        await echo(probe, compression)
    await session(realm)


asyncio.run(main())
