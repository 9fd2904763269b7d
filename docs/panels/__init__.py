"""The pictures of the dashboard's panels in `docs/monitoring.md`: `python -m docs.panels`."""
