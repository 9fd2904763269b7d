"""Idle native threads of a worker."""

from __future__ import annotations

import subprocess
import sys

IDLE_S = 0.1
PRODUCT = f"""
import time
import forebay_workers
import numpy as np

left = np.ones((1000, 1000))
left @ left
begun = time.process_time()
time.sleep({IDLE_S})
print(time.process_time() - begun)
"""


def test_no_thread_spins_after_a_product() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRODUCT], check=True, stdout=subprocess.PIPE, text=True, timeout=60
    )
    assert float(done.stdout) < IDLE_S / 4
