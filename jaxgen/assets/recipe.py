"""How the embedded model is trained: learning rate, optimiser, rows of a step, and when it ends."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import optax


@dataclass(frozen=True)
class Recipe:
    """How the model is trained.

    Attributes:
        warmup: share of the budget.
        rows: (rows, tokens each) of a step; small, because on so few tokens many steps learn more
            than large ones.
        final_rows: the same for the last `final_share` of the budget; long, so that the model
            learns the whole context.
    """

    peak_learning_rate: float = 2e-3
    warmup: float = 0.03
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0
    rows: tuple[int, int] = (4, 128)
    final_rows: tuple[int, int] = (2, 512)
    final_share: float = 0.15

    def learning_rate(self, progress: float) -> float:
        """Return a linear warm-up, then a cosine down to 1 % of the peak.

        Args:
            progress: the share of the budget that is spent.
        """
        peak = self.peak_learning_rate
        if progress < self.warmup:
            # The first step would otherwise change nothing.
            share = max(progress, 1e-4) / self.warmup
            return peak * share
        rest = (progress - self.warmup) / (1 - self.warmup)
        angle = math.pi * min(rest, 1.0)
        cosine = 0.5 * (1 + math.cos(angle))
        return peak * (0.01 + 0.99 * cosine)

    def rows_at(self, progress: float) -> tuple[int, int]:
        """Return (rows, tokens each) of a step, by the share of the budget that is spent."""
        if progress >= 1 - self.final_share:
            return self.final_rows
        return self.rows

    def optimizer(self) -> optax.GradientTransformation:
        """Return AdamW without its learning rate, which `update` takes as a traced number."""

        def is_matrix(params: Any) -> Any:
            return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

        # Norms do not decay.
        decay = optax.add_decayed_weights(self.weight_decay, mask=is_matrix)
        return optax.chain(
            # Clipped before Adam sees it: one bad batch must not stay in the moments.
            optax.clip_by_global_norm(self.max_grad_norm),
            optax.scale_by_adam(b1=0.9, b2=0.95),
            # Behind Adam, so that the moments do not scale the decay: this makes it AdamW.
            decay,
        )


@dataclass(frozen=True)
class Budget:
    """When training ends: after so many steps or minutes, whichever is given."""

    steps: int | None
    minutes: float | None

    def progress(self, step: int, elapsed_s: float) -> float:
        """Return the share that is spent; 1 or more means the end."""
        shares = [0.0]
        if self.steps:
            shares.append(step / self.steps)
        if self.minutes:
            limit_s = 60 * self.minutes
            shares.append(elapsed_s / limit_s)
        # With both limits, the one that is reached first ends the training.
        return max(shares)
