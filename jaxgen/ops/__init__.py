"""Pure functions over arrays.

Axis letters: B batch, T query time, S key time, N heads, K kv heads, G = N/K, H head dim, D hidden,
F intermediate, V vocab, L layers, P page.
"""
