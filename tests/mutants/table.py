"""The modules that are mutated, and the tests that must fail."""

from __future__ import annotations

from tests.mutants.tree import ROOT

_CLIENT = "clients/python/forebay"
_BACKENDS = "backends/forebay_backends"
_GATEWAY = "gateway/forebay_gateway"
_WORKERS = "workers/forebay_workers"
_UNIT = "tests/unit"
_ADMISSION = f"{_UNIT}/gateway/admission"
_REST, _SSE = f"{_UNIT}/gateway/web/rest", f"{_UNIT}/gateway/web/sse"
_IDENTITY = f"{_UNIT}/gateway/identity"
_JWT = tuple(
    f"{_IDENTITY}/jwt/test_{name}.py" for name in ("jwt_verifier", "file_keys", "fetched_keys")
)
_MAPPING = (
    f"{_UNIT}/gateway/plain/mapping/test_mapping.py",
    f"{_UNIT}/gateway/plain/mapping/test_plain_options.py",
)
_IMPORT = (f"{_UNIT}/gateway/cli/import_app",)
_SETTINGS = (f"{_UNIT}/backends/settings/test_settings.py",)
_URLS = (f"{_UNIT}/backends/urls",)
_ROUTES = (f"{_UNIT}/client/routes",)

PYTHON = {
    f"{_CLIENT}/checks.py": (f"{_UNIT}/client/test_checks.py",),
    f"{_CLIENT}/compute/checks.py": (f"{_UNIT}/client/compute",),
    f"{_CLIENT}/deadline.py": (f"{_UNIT}/client/test_deadline.py",),
    f"{_CLIENT}/errors/status.py": (f"{_UNIT}/client/errors/test_errors.py",),
    f"{_CLIENT}/resume/policy.py": (f"{_UNIT}/client/resume/test_policy.py",),
    f"{_CLIENT}/resume/request_replay.py": (f"{_UNIT}/client/resume/test_request_replay.py",),
    f"{_CLIENT}/resume/targets.py": (
        f"{_UNIT}/client/resume/test_targets.py",
        f"{_UNIT}/client/resume/test_policy.py",
    ),
    f"{_CLIENT}/routes/cache.py": _ROUTES,
    f"{_CLIENT}/routes/descriptor_conflicts.py": _ROUTES,
    f"{_CLIENT}/routes/field_paths.py": _ROUTES,
    f"{_CLIENT}/routes/fields.py": _ROUTES,
    f"{_CLIENT}/routes/file.py": _ROUTES,
    f"{_CLIENT}/routes/fingerprints.py": _ROUTES,
    f"{_CLIENT}/routes/methods.py": _ROUTES,
    f"{_CLIENT}/routes/plain.py": (*_ROUTES, f"{_UNIT}/gateway/plain/test_task_outcome.py"),
    f"{_CLIENT}/routes/plain_forms.py": _MAPPING[1:],
    f"{_CLIENT}/routes/plain_problems.py": _MAPPING[1:],
    f"{_CLIENT}/routes/problems.py": _ROUTES,
    f"{_CLIENT}/routes/route.py": _ROUTES,
    f"{_CLIENT}/routes/sources.py": _ROUTES,
    f"{_BACKENDS}/ledger/frames.py": (f"{_UNIT}/backends/ledger/test_frames.py",),
    f"{_BACKENDS}/ledger/keys.py": (f"{_UNIT}/backends/ledger/test_keys.py",),
    f"{_BACKENDS}/ledger/lifecycle.py": (f"{_UNIT}/backends/ledger/test_lifecycle.py",),
    f"{_BACKENDS}/ledger/lost_calls.py": (f"{_UNIT}/backends/ledger/test_lost_calls.py",),
    f"{_BACKENDS}/settings/applications.py": _SETTINGS,
    f"{_BACKENDS}/settings/backend_settings.py": _SETTINGS,
    f"{_BACKENDS}/settings/limit_settings.py": _SETTINGS,
    f"{_BACKENDS}/settings/problems.py": _SETTINGS,
    f"{_BACKENDS}/settings/serving_settings.py": _SETTINGS,
    f"{_BACKENDS}/settings/tenant_settings.py": (
        f"{_UNIT}/backends/settings/test_tenant_settings.py",
    ),
    f"{_BACKENDS}/settings/values.py": _SETTINGS,
    f"{_BACKENDS}/signing/keys.py": (
        f"{_UNIT}/backends/signing/test_keys.py",
        f"{_UNIT}/gateway/cli/test_signing_checks.py",
    ),
    f"{_BACKENDS}/urls/amqp_server.py": _URLS,
    f"{_BACKENDS}/urls/backends.py": _URLS,
    f"{_BACKENDS}/urls/celery.py": _URLS,
    f"{_BACKENDS}/urls/parsing.py": _URLS,
    f"{_BACKENDS}/urls/redaction.py": _URLS,
    f"{_BACKENDS}/urls/redis_server.py": _URLS,
    f"{_BACKENDS}/urls/tls.py": _URLS,
    f"{_GATEWAY}/admin/filters.py": (f"{_UNIT}/gateway/admin/test_filters.py",),
    f"{_GATEWAY}/admin/pages.py": (f"{_UNIT}/gateway/admin/test_pages.py",),
    f"{_GATEWAY}/admission/admission.py": (f"{_ADMISSION}/test_admission.py",),
    f"{_GATEWAY}/admission/caller_identity.py": (f"{_ADMISSION}/test_caller_identity.py",),
    f"{_GATEWAY}/admission/fair_share.py": (
        f"{_ADMISSION}/test_fair_share.py",
        f"{_ADMISSION}/test_admission.py",
    ),
    f"{_GATEWAY}/admission/queue_limits.py": (f"{_ADMISSION}/test_queue_limits.py",),
    f"{_GATEWAY}/admission/queue_load.py": (f"{_ADMISSION}/test_queue_limits.py",),
    f"{_GATEWAY}/admission/rate_window.py": (f"{_ADMISSION}/test_rate_window.py",),
    f"{_GATEWAY}/admission/retry_after.py": (
        f"{_ADMISSION}/test_retry_after.py",
        f"{_ADMISSION}/test_rate_window.py",
    ),
    f"{_GATEWAY}/cli/import_app/classes.py": _IMPORT,
    f"{_GATEWAY}/cli/import_app/descriptions.py": _IMPORT,
    f"{_GATEWAY}/cli/import_app/enums.py": _IMPORT,
    f"{_GATEWAY}/cli/import_app/mapping.py": _IMPORT,
    f"{_GATEWAY}/cli/import_app/names.py": _IMPORT,
    f"{_GATEWAY}/cli/import_app/render.py": _IMPORT,
    f"{_GATEWAY}/cli/import_app/routes.py": _IMPORT,
    f"{_GATEWAY}/cli/import_app/signatures.py": _IMPORT,
    f"{_GATEWAY}/durable/item_sequence.py": (
        f"{_UNIT}/gateway/durable/test_item_sequence.py",
        f"{_UNIT}/gateway/durable/test_item_sequence_order.py",
    ),
    f"{_GATEWAY}/fair_queues/fair_queue.py": (f"{_UNIT}/gateway/fair_queues",),
    f"{_GATEWAY}/fair_queues/round_robin.py": (f"{_UNIT}/gateway/fair_queues",),
    f"{_GATEWAY}/quotas/tenant_use.py": (f"{_UNIT}/gateway/quotas",),
    f"{_GATEWAY}/plain/brokers/poll_schedule.py": (
        f"{_UNIT}/gateway/plain/brokers/test_poll_schedule.py",
    ),
    f"{_GATEWAY}/plain/mapping/arguments.py": _MAPPING,
    f"{_GATEWAY}/plain/mapping/celery_json.py": _MAPPING,
    f"{_GATEWAY}/identity/jwt/claims.py": (f"{_IDENTITY}/jwt/test_jwt_verifier.py",),
    f"{_GATEWAY}/identity/jwt/issuer.py": _JWT,
    f"{_GATEWAY}/identity/jwt/jwks.py": (f"{_IDENTITY}/jwt/test_jwks.py",),
    f"{_GATEWAY}/identity/jwt/token.py": (f"{_IDENTITY}/jwt/test_jwt_verifier.py",),
    f"{_GATEWAY}/identity/keys/api_key.py": (f"{_IDENTITY}/keys/test_api_keys.py",),
    f"{_GATEWAY}/identity/keys/keys_file.py": (f"{_IDENTITY}/keys/test_api_keys.py",),
    f"{_GATEWAY}/identity/verdicts.py": (f"{_IDENTITY}/test_verdicts.py",),
    f"{_GATEWAY}/plain/mapping/result_meta.py": (f"{_UNIT}/gateway/plain/test_task_outcome.py",),
    f"{_GATEWAY}/plain/mapping/results.py": _MAPPING,
    f"{_GATEWAY}/plain/mapping/scalars.py": _MAPPING,
    f"{_GATEWAY}/plain/mapping/well_known.py": _MAPPING,
    f"{_GATEWAY}/plain/task_outcome.py": (f"{_UNIT}/gateway/plain/test_task_outcome.py",),
    f"{_GATEWAY}/rpc/batching.py": (f"{_UNIT}/gateway/rpc/test_batching.py",),
    f"{_GATEWAY}/rpc/cache_key.py": (f"{_UNIT}/gateway/rpc/test_cache_key.py",),
    f"{_GATEWAY}/rpc/options.py": (f"{_UNIT}/gateway/rpc/test_options.py",),
    f"{_GATEWAY}/rpc/outcomes.py": (f"{_UNIT}/gateway/rpc/test_outcomes.py",),
    f"{_GATEWAY}/rpc/policy.py": (f"{_UNIT}/gateway/rpc/test_policy.py",),
    f"{_GATEWAY}/rpc/status.py": (f"{_UNIT}/gateway/rpc/test_status.py",),
    f"{_GATEWAY}/tls/expiry.py": (f"{_UNIT}/gateway/tls/test_expiry.py",),
    f"{_GATEWAY}/web/rest/bindings.py": (f"{_REST}/test_bindings.py",),
    f"{_GATEWAY}/web/rest/field_paths.py": (f"{_REST}/test_request_message.py",),
    f"{_GATEWAY}/web/rest/field_values.py": (f"{_REST}/test_request_message.py",),
    f"{_GATEWAY}/web/rest/path_index.py": (f"{_REST}/test_path_index.py",),
    f"{_GATEWAY}/web/rest/path_template.py": (f"{_REST}/test_path_template.py",),
    f"{_GATEWAY}/web/rest/request_message.py": (f"{_REST}/test_request_message.py",),
    f"{_GATEWAY}/web/sse/position.py": (f"{_SSE}/test_position.py",),
    f"{_GATEWAY}/web/sse/subscription.py": (f"{_SSE}/test_subscription.py",),
    f"{_WORKERS}/compute/blocks.py": (f"{_UNIT}/workers/compute/test_blocks.py",),
    f"{_WORKERS}/compute/decimals.py": (f"{_UNIT}/workers/compute/test_decimals.py",),
    f"{_WORKERS}/handler/flow_control.py": (f"{_UNIT}/workers/handler/test_flow_control.py",),
    f"{_WORKERS}/handler/version_check.py": (f"{_UNIT}/workers/handler/test_version_check.py",),
}

LUA_FOLDER = f"{_BACKENDS}/ledger/lua"
_LEDGER_TESTS = (
    *("-k", "not redis and not rabbitmq"),  # one server is enough
    "tests/contract/test_ledger_attempts.py",
    "tests/contract/test_ledger_requests.py",
    "tests/contract/test_ledger_live.py",
    "tests/contract/test_ledger_items.py",
    "tests/contract/test_ledger_watching.py",
    "tests/contract/test_ledger_sweeping.py",
    "tests/contract/test_ledger_reaping.py",
    "tests/contract/test_ledger_clock.py",
    "tests/contract/test_ledger_piggybacked.py",
    "tests/contract/test_ledger_held.py",
    "tests/contract/test_ledger_delayed.py",
    "tests/contract/test_ledger_ends.py",
    "tests/contract/test_ledger_cache.py",
    "tests/contract/test_quota_shares.py",
    "tests/contract/test_ledger_data_model.py",
    "tests/contract/test_ledger_lost_answers.py",
    "tests/contract/test_ledger_lifecycle.py",
    "tests/contract/test_listing.py",
    "tests/contract/test_spooling.py",
    "tests/contract/test_ledger_model.py",
)


LUA = {
    str(path.relative_to(ROOT)): _LEDGER_TESTS
    for path in sorted((ROOT / LUA_FOLDER).rglob("*.lua"))
    if path.name != "accept.lua" or path.parent.name == "lib"
}
"""All scripts: any test of the ledger may detect a change. `calls/accept.lua` only passes its
arguments on, so nothing in it can be changed."""
