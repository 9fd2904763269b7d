"""The resources of a worker's process."""

from __future__ import annotations

import threading

from forebay_workers.runtime.process import Runtime


def test_all_threads_of_a_process_share_its_resources() -> None:
    runtime = Runtime("worker", slots=1)
    pipeliner = threading.Barrier(8)
    seen: list[tuple[object, ...]] = []

    def look() -> None:
        pipeliner.wait()
        seen.append((runtime.settings, runtime.ledger, runtime.checks))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tuple(map(id, held)) for held in seen}) == 1
    runtime.ledger.close()
