"""Names and defaults of settings that callers, gateways and workers share."""

from __future__ import annotations

PREFIX = "FOREBAY_"
"""The prefix of all settings' environment variables."""
CONFIG_VARIABLE = "FOREBAY_CONFIG"
"""The variable that names the file of the settings."""
CONFIG_FILE = "forebay.toml"
"""The file of the settings if the variable is unset."""
LISTEN = "127.0.0.1:50051"
"""The default address that a gateway listens on."""
SERVICES = ("forebay.compute.v1.compute_pb2",)
"""The default sources of a gateway's services."""
