"""Floor 4: prefill and decode as pure programs, the strategies that bind them, the ledger that watches them compile."""
