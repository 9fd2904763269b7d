"""Tests in a browser: the operators' page in Chromium, driven by `playwright-core`."""
