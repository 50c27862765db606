"""How fast a gateway is, what it adds, and what it takes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import programs
from contestants import ANSWER, OTHER_CORE, Contestant

_TICKS = os.sysconf("SC_CLK_TCK")
PROMPT = "Tell me about the sea. " * 30
EVENTS = 200
"""Of one stream, each of the size that vLLM writes for a token."""


def body(*, stream: bool = False) -> bytes:
    """A chat of about 1 kB."""
    return json.dumps(
        {"model": "qwen", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 64, "stream": stream}
    ).encode()


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in family(int(child)))]


def cpu_s(pid: int) -> float:
    """The CPU time that a process and its descendants have used."""
    fields = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in family(pid)]
    return sum(int(one[11]) + int(one[12]) for one in fields) / _TICKS


def memory_mib(pid: int) -> float:
    """The memory of a process and its descendants, shared pages counted once."""
    texts = [Path(f"/proc/{one}/smaps_rollup").read_text() for one in family(pid)]
    return sum(int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1]) for text in texts) / 1024  # type: ignore[index] # wrk and the kernel always say it


def throughput(one: Contestant, folder: Path, seconds: int) -> tuple[float, float]:
    """Requests a second from wrk on the other core, and requests for each second of the gateway's CPU time."""
    script = folder / "post.lua"
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in one.headers.items())
    script.write_text(
        f'wrk.method = "POST"\nwrk.body = [==[{body().decode()}]==]\n'
        f'wrk.headers["Content-Type"] = "application/json"\n{headers}\n'
    )
    before = cpu_s(one.process.pid)
    argv = ["taskset", "-c", OTHER_CORE, *programs.debian("wrk"), "-t1", "-c32", f"-d{seconds}s", "--timeout", "30s"]
    said = subprocess.run([*argv, "-s", script, one.url], check=True, capture_output=True, text=True).stdout
    used = cpu_s(one.process.pid) - before
    assert "Non-2xx" not in said, f"{one.name}: {said}"
    count = int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index] # as above
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index] # as above
    return rate, count / used


async def latency(one: Contestant, rate: int, seconds: int) -> list[float]:
    """Milliseconds of each request at a fixed rate, counted from when it was due, in order."""
    connections: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    times: list[float] = []

    async def ask(due: float) -> None:
        connection = connections.get_nowait() if connections.qsize() else await Connection.open(one)
        await connection.ask()
        times.append(1000 * (time.perf_counter() - due))
        connections.put_nowait(connection)

    begin = time.perf_counter() + 0.1
    asked = []
    for number in range(rate * seconds):
        due = begin + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        asked.append(asyncio.create_task(ask(due)))
    await asyncio.gather(*asked)
    while connections.qsize():
        connections.get_nowait().writer.close()
    return sorted(times[rate:])  # the first second opens connections


class Connection:
    """A connection of its own to a gateway, kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.reader, self.writer, self.request = reader, writer, head + body()

    @classmethod
    async def open(cls, one: Contestant, *, stream: bool = False) -> Connection:
        """Connects; what is asked is a chat, as a stream or not."""
        where = urlsplit(one.url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        headers = "".join(f"{name}: {value}\r\n" for name, value in one.headers.items())
        head = (
            f"POST {where.path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}"
            f"Content-Length: {len(body(stream=stream))}\r\n\r\n"
        )
        made = cls(reader, writer, head.encode())
        made.request = head.encode() + body(stream=stream)
        return made

    async def ask(self) -> None:
        """Asks and reads the whole answer."""
        self.writer.write(self.request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if length is not None:
            await self.reader.readexactly(int(length[1]))
            return
        while size := int((await self.reader.readline()).split(b";")[0], 16):
            await self.reader.readexactly(size + 2)
        await self.reader.readline()

    async def stream(self) -> int:
        """Asks for a stream and reads it to its end; how many events came."""
        self.writer.write(self.request)
        events, tail = 0, b""
        while True:
            piece = await self.reader.read(65536)
            text = tail + piece
            events += text.count(b"data: {")
            if not piece or b"data: [DONE]" in text:
                return events
            tail = text[-6:] if not text[-6:].startswith(b"data: {") else b""


async def streaming(one: Contestant, parallel: int, seconds: int) -> tuple[float, float]:
    """Events a second over parallel streams, and events for each second of the gateway's CPU time."""
    events = 0
    before, begin = cpu_s(one.process.pid), time.perf_counter()

    async def ask() -> None:
        nonlocal events
        while time.perf_counter() < begin + seconds:
            connection = await Connection.open(one, stream=True)
            came = await connection.stream()
            events += came  # not in one line: that would forget what came meanwhile
            connection.writer.close()

    await asyncio.gather(*(ask() for _ in range(parallel)))
    spent = time.perf_counter() - begin
    return events / spent, events / (cpu_s(one.process.pid) - before)


async def serve_streams(port: int) -> asyncio.Server:
    """An upstream that writes every event by itself, as engines do, as fast as it is read."""
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "qwen"}
    choice = {"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}
    event = f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n".encode()
    framed = f"{len(event):x}\r\n".encode() + event + b"\r\n"
    end = b"data: [DONE]\n\n"
    last = f"{len(end):x}\r\n".encode() + end + b"\r\n0\r\n\r\n"

    content = json.dumps(ANSWER).encode()
    whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    whole += f"content-length: {len(content)}\r\n\r\n".encode() + content

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                asked = await reader.readexactly(int(length[1]) if length else 0)
                if b'"stream": true' not in asked and b'"stream":true' not in asked:
                    writer.write(whole)
                    continue
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                )
                for _ in range(EVENTS):
                    writer.write(framed)
                    await writer.drain()
                    await asyncio.sleep(0)
                writer.write(last)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", port)
