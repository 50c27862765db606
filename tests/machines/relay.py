"""Connects whoever reaches a listening socket (given as a descriptor) with a loopback port of the network it runs in.

Ends when its standard input ends. Run inside a machine's network namespace with a socket from outside of it.
"""

import asyncio
import socket
import sys


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    except OSError:
        writer.transport.abort()
        return
    await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
    far_writer.close()
    writer.close()


async def _main() -> None:
    listening = socket.socket(fileno=int(sys.argv[1]))
    server = await asyncio.start_server(_serve, sock=listening)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()
    server.close()


asyncio.run(_main())
