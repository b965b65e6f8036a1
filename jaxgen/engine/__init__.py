"""Prefill and decode as pure programs, the strategies that bind them, the compile ledger."""
