"""Names and defaults of settings that callers, gateways and workers read alike."""

from __future__ import annotations

PREFIX = "FOREBAY_"
"""The first part of each setting's variable."""
CONFIG_VARIABLE = "FOREBAY_CONFIG"
"""The variable that names the file of the settings."""
CONFIG_FILE = "forebay.toml"
"""The file of the settings if no variable names one."""
LISTEN = "127.0.0.1:50051"
"""The address of a gateway."""
SERVICES = ("forebay.compute.v1.compute_pb2",)
"""The sources of a gateway's services."""
