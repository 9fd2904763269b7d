"""Quotas of tenants, counted over all gateways."""
