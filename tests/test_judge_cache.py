"""What a judge keeps: verdicts alone, for all judges and processes of a user; its troubles are none of the judge's."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from itertools import pairwise

import pytest
from judge_endpoint import ASKED, Endpoint, ask, serving

from agentic_vision import ConfigError
from agentic_vision.judge import Judge
from agentic_vision.judge_cache import JudgeCache


def test_the_cache_outlives_the_judge_and_is_shared(tmp_path):
    path = tmp_path / "deep" / "verdicts.sqlite"
    endpoint = Endpoint("1")
    assert not ask(endpoint, cache=path)[0].cached
    [again] = ask(endpoint, cache=path)
    assert (again.correct, again.reply, again.cached) == (True, "1", True)
    assert len(endpoint.requests) == 1
    ask(endpoint, ("Which number?", "417", "418"), cache=path)
    ask(endpoint, cache=path, request={"temperature": 1})
    assert len(endpoint.requests) == 3


def test_no_verdict_is_not_cached(tmp_path):
    path = tmp_path / "verdicts.sqlite"
    assert ask(Endpoint("Well."), cache=path)[0].correct is None
    assert ask(Endpoint("0"), cache=path)[0].correct is False


def test_a_cache_that_cannot_be_kept_is_told(tmp_path):
    (tmp_path / "file").write_text("This is no database, but a file of some other kind." * 50)
    with pytest.raises(ConfigError, match="cannot keep verdicts"):
        Judge("judge", cache=tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot keep verdicts"):
        Judge("judge", cache=tmp_path / "file" / "verdicts.sqlite")


def test_many_processes_may_make_the_same_cache_at_once(tmp_path):
    code = (
        "import sys; from agentic_vision.judge_cache import JudgeCache; cache = JudgeCache(sys.argv[1]);"
        "[cache.put(f'{sys.argv[2]}/{n}', True, '1', 'x') for n in range(20)]"
    )
    path = tmp_path / "verdicts.sqlite"
    started = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(4)]
    assert [one.wait() for one in started] == [0] * 4
    cache = JudgeCache(path)
    assert all(cache.get(f"{n}/19") == (True, "1") for n in range(4))


def test_a_cache_that_breaks_later_costs_no_verdict(tmp_path, caplog):
    path = tmp_path / "verdicts.sqlite"

    async def verdicts(url):
        async with Judge("judge", base_url=url, api_key="none", cache=path) as judge:
            with sqlite3.connect(path) as other:
                other.execute("DROP TABLE verdicts")
            return [await judge.verdict(*ASKED), await judge.verdict(*ASKED)]

    with serving(Endpoint("1")) as url:
        assert [verdict.correct for verdict in asyncio.run(verdicts(url))] == [True, True]
    assert sum("cannot be used" in record.message for record in caplog.records) == 1


def test_the_loop_goes_on_while_another_process_writes_the_cache(tmp_path):
    cache = tmp_path / "verdicts.sqlite"

    async def longest_stop(url):
        ticks, stopped = [time.monotonic()], asyncio.Event()

        async def tick():
            while not stopped.is_set():
                await asyncio.sleep(0.01)
                ticks.append(time.monotonic())

        async with Judge("judge", base_url=url, api_key="none", cache=cache) as judge:
            other = sqlite3.connect(cache, isolation_level=None, check_same_thread=False)
            other.execute("BEGIN IMMEDIATE")
            ticking = asyncio.create_task(tick())
            first = asyncio.create_task(judge.verdict(*ASKED))
            await asyncio.sleep(0.2)  # it has its verdict, and waits to write it
            threading.Timer(1.5, lambda: other.execute("COMMIT")).start()
            verdicts = [await judge.verdict("Another?", "1", "1"), await first]
            stopped.set()
            await ticking
            other.close()
        assert all(verdict.correct for verdict in verdicts)
        return max(after - before for before, after in pairwise(ticks))

    with serving(Endpoint("1")) as url:
        assert asyncio.run(longest_stop(url)) < 1.2
