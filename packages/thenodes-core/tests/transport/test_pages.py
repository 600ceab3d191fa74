"""Pages for machines: what is answered, and what those who ask cannot do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from thenodes_core.errors import ListenError
from thenodes_core.transport.base import Listener
from thenodes_core.transport.pages import Page, PageLimits, serve_pages

LIMITS = PageLimits(connections=4, request_bytes=2048, seconds=0.3)


async def answer(path: str) -> Page:
    if path == "/large":
        return Page("x" * 30_000_000)
    if path == "/slow":
        await asyncio.sleep(60)
    return Page(f"this is {path}\n", content_type="text/x-page")


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = await serve_pages("127.0.0.1", 0, answer, limits=LIMITS)
    yield listener
    await listener.close()


async def asks(listener: Listener, request: bytes, *, most: int = 1 << 20) -> bytes:
    reader, writer = await asyncio.open_connection(listener.host, listener.port)
    try:
        writer.write(request)
        return await reader.read(most)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def gets(listener: Listener, path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", *(headers or ("Host: 127.0.0.1:9",)), "", ""]
    return await asks(listener, "\r\n".join(lines).encode())


async def test_a_page_is_answered_with_its_type_and_the_connection_ends(
    listener: Listener,
) -> None:
    got = await gets(listener, "/hello?who=me")

    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert got.count(b"Content-Type: text/x-page\r\n") == got.count(b"Content-Type") == 1
    assert got.count(b"Cache-Control: no-store\r\n") == 1
    assert got.endswith(b"\r\n\r\nthis is /hello\n")


@pytest.mark.parametrize("method", ["POST", "HEAD", "DELETE", "BREW"])
async def test_any_other_method_is_refused_in_words(listener: Listener, method: str) -> None:
    request = f"{method} /hello HTTP/1.1\r\nHost: [::1]:9\r\nContent-Length: 4\r\n\r\nbody"

    got = await asks(listener, request.encode())

    assert got.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: GET\r\n" in got


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01", b"hello\r\n\r\n", b"G" * 60])
async def test_what_is_no_http_is_refused_at_once(listener: Listener, garbage: bytes) -> None:
    assert (await asks(listener, garbage)).startswith(b"HTTP/1.1 400 ")


async def test_who_is_refused_and_stays_is_cut(listener: Listener) -> None:
    reader, writer = await asyncio.open_connection(listener.host, listener.port)
    writer.write(b"POST / HTTP/1.1\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 405 ")

    async def go_on() -> None:
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(go_on(), 5)
    writer.close()


async def test_a_method_that_comes_in_pieces_is_understood(listener: Listener) -> None:
    reader, writer = await asyncio.open_connection(listener.host, listener.port)
    for piece in (b"G", b"E", b"T /pieces HT", b"TP/1.1\r\n", b"\r\n"):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)

    assert b"this is /pieces" in await reader.read()
    writer.close()


@pytest.mark.parametrize(
    "header", [b"X: " + b"x" * 10_000_000, b"\r\n".join([b"X: x"] * 1_000_000)]
)
async def test_a_long_header_ends_the_request(listener: Listener, header: bytes) -> None:
    got = await asks(listener, b"GET / HTTP/1.1\r\n" + header)

    assert b"this is" not in got
    assert got == b"" or got.startswith(b"HTTP/1.1 431 ")


async def test_a_header_of_two_kilobytes_too_much_is_told(listener: Listener) -> None:
    got = await gets(listener, "/", f"X: {'x' * 2048}")

    assert got.startswith(b"HTTP/1.1 431 ")


async def test_who_asks_and_then_says_no_more_is_answered(listener: Listener) -> None:
    reader, writer = await asyncio.open_connection(listener.host, listener.port)
    writer.write(b"GET /hello HTTP/1.1\r\n\r\n")
    writer.write_eof()

    assert (await reader.read()).endswith(b"this is /hello\n")
    writer.close()


async def test_who_leaves_amid_a_request_is_let_go_of_at_once(listener: Listener) -> None:
    reader, writer = await asyncio.open_connection(listener.host, listener.port)
    began = asyncio.get_running_loop().time()
    writer.write(b"GET /hello HT")
    writer.write_eof()

    assert await reader.read() == b""
    assert asyncio.get_running_loop().time() - began < LIMITS.seconds
    writer.close()


async def test_a_request_that_never_ends_is_cut(listener: Listener) -> None:
    reader, writer = await asyncio.open_connection(listener.host, listener.port)
    writer.write(b"GET / HTTP/1.1\r\n")
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def drip() -> None:
        while True:
            writer.write(b"X: x\r\n")
            await asyncio.sleep(0.02)

    dripping = loop.create_task(drip())
    try:
        got = await reader.read()
    except ConnectionError:
        got = b""
    dripping.cancel()
    writer.close()

    assert got == b""
    assert loop.time() - began < 2


async def test_an_answer_that_is_not_read_is_cut(listener: Listener) -> None:
    reader, writer = await asyncio.open_connection(listener.host, listener.port, limit=1024)
    writer.write(b"GET /large HTTP/1.1\r\n\r\n")
    await asyncio.sleep(1)

    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(30_000_000)
    writer.close()


async def test_a_page_that_takes_for_ever_is_cut(listener: Listener) -> None:
    assert await gets(listener, "/slow") == b""


async def test_a_hundred_idle_connections_keep_nobody_out_and_the_oldest_are_cut() -> None:
    patient = PageLimits(connections=4, seconds=30.0)
    listener = await serve_pages("127.0.0.1", 0, answer, limits=patient)
    idle = [await asyncio.open_connection(listener.host, listener.port) for _ in range(100)]

    got = await gets(listener, "/hello")

    assert b"this is /hello" in got
    async with asyncio.timeout(5):
        ended = [reader for reader, _ in idle[:96] if await _ends(reader)]
    assert len(ended) == 96
    for _, writer in idle:
        writer.close()
    await listener.close()


async def _ends(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_a_name_that_a_web_page_lets_point_here_is_refused(listener: Listener) -> None:
    assert (await gets(listener, "/", "Host: evil.example:9100")).startswith(b"HTTP/1.1 421 ")
    for host in ("localhost", "LocalHost:9100", "127.0.0.1", "[::1]:9100", "10.0.0.7:1"):
        assert b" 200 " in await gets(listener, "/", f"Host: {host}")


async def test_beyond_loopback_a_name_is_taken() -> None:
    listener = await serve_pages("127.0.0.1", 0, answer, refuse_names=False, limits=LIMITS)

    assert b" 200 " in await gets(listener, "/", "Host: node-7.example:9100")
    await listener.close()


async def test_no_request_becomes_a_connection(listener: Listener) -> None:
    got = await gets(
        listener,
        "/ws",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )

    assert got.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_taken_port_names_the_option_that_chooses_another(listener: Listener) -> None:
    with pytest.raises(ListenError, match=r"taken by another program.*--health-port"):
        await serve_pages("127.0.0.1", listener.port, answer)


async def test_a_listener_that_closes_ends_who_is_still_there() -> None:
    listener = await serve_pages("127.0.0.1", 0, answer)
    reader, writer = await asyncio.open_connection(listener.host, listener.port)
    await asyncio.sleep(0.01)

    await listener.close()

    assert await _ends(reader)
    writer.close()
