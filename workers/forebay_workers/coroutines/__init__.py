"""Coroutine handlers: their event loop, context, requests and interceptors."""
