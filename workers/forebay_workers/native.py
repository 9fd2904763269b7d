"""Native threads that let go of their core when they have nothing to do.

After a product OpenBLAS's threads look for the next one for some 0.1 s, busily, each on
a core that what became of the product needs on its way to the caller. It reads how long
(2 to that power, in CPU cycles) when it is loaded: this module goes before NumPy.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")  # 2^20 cycles are about 0.4 ms
