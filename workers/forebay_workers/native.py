"""Sets how long idle OpenBLAS threads spin.

After a product, OpenBLAS's threads spin for some 0.1 s in wait for the next one, each on a
core that would otherwise send the product to the caller. OpenBLAS reads the time (2 to that
power, in CPU cycles) when it is loaded, so this module must be imported before NumPy.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")  # 2^20 cycles are about 0.4 ms
