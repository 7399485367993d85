"""Many clients at once, some of which leave in the middle: the others' streams are their own.

`make soak` goes on for five minutes and prints the gap between two chunks that 1 % exceed.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import settings

from ragformer.config import Backend
from ragformer.library import Library

from .conftest import QUESTION, Running

SOAK = 300.0 if settings.get_current_profile_name() == "soak" else 0.0  # seconds
CLIENTS = {"default": 32, "default:qwen": 32 if SOAK else 9}
QUESTIONS = (QUESTION, "When does the ferry leave?", "Where does it hunt?", "Do dogs travel free?")
MOST_GROWTH = 64 * 2**20  # bytes


def resident() -> int:
    """Bytes of memory this process holds; 0 where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


# The openai client's streams are generators within generators: where one is left in the middle,
# asyncio may close the inner one while the outer one does.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator")
@pytest.mark.timeout(SOAK + 200)
@pytest.mark.parametrize("model", CLIENTS)
def test_no_stream_is_mixed_up_and_the_dead_harm_nobody(
    running: Running, cats: Library, imported: Path, model: str
) -> None:
    writes: Backend = imported if model == "default:qwen" else None
    wanted = {question: cats.ask(question, backend=writes).text for question in QUESTIONS}
    assert len(set(wanted.values())) > 2
    gaps: list[float] = []

    async def client(api: Any, number: int, until: float) -> None:
        for turn in range(10**9):
            question = QUESTIONS[(number + turn) % len(QUESTIONS)]
            chunks = await api.chat.completions.create(
                model=model, messages=[{"role": "user", "content": question}], stream=True
            )
            text, last = "", 0.0
            async for chunk in chunks:
                now = time.perf_counter()
                gaps.extend([now - last] if last else [])
                last = now
                text += chunk.choices[0].delta.content or ""
                if number % 3 == 0 and text:
                    await chunks.close()
                    break
            assert (
                wanted[question].startswith(text) if number % 3 == 0 else text == wanted[question]
            )
            if time.monotonic() >= until:
                return

    async def everybody(seconds: float) -> None:
        until = time.monotonic() + seconds
        async with openai.AsyncOpenAI(base_url=running.url, api_key="none", max_retries=0) as api:
            await asyncio.gather(*(client(api, number, until) for number in range(CLIENTS[model])))

    asyncio.run(everybody(0))
    before = resident()
    asyncio.run(everybody(SOAK))
    running.wait_idle()
    assert resident() - before < MOST_GROWTH
    gaps.sort()
    print(f"{model}: {len(gaps)} gaps, p99 {1000 * gaps[len(gaps) * 99 // 100]:.0f} ms")
