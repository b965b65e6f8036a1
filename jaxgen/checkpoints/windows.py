"""Which window a Hugging Face config.json asks for: one for all layers or none, else it is refused.

What counts is what transformers computes: Mistral has a window unless `sliding_window` is null,
Qwen2 and Qwen3 only with `use_sliding_window`, Llama and GPT-2 never, whatever their file says.
"""

from jaxgen.checkpoints.fields import Fields, short

_FULL, _SLIDING = "full_attention", "sliding_attention"
_MISTRAL_WINDOW, _QWEN_FULL_LAYERS = 4096, 28  # what transformers takes where the key is missing


def window_of(fields: Fields, *, family: str) -> int | None:
    """Return how many positions a token sees, its own included; null is all.

    Args:
        fields: of config.json; what is wrong with the window is added to their problems.
        family: jaxgen's own; Mistral's is llama.
    """
    kinds = set(map(str, fields.sequence("layer_types")))
    is_qwen = family in ("qwen2", "qwen3")
    if is_qwen and fields.flag("use_sliding_window", False):
        return _qwen_window(fields, kinds)
    # jaxgen has one window for all layers: a family without any may name no windowed layer.
    if kinds - {_FULL}:
        _refuse_layers(fields)
    is_mistral = "MistralForCausalLM" in str(fields.config.get("architectures"))
    if not is_mistral or _is_null(fields):
        return None
    return fields.size("sliding_window", _MISTRAL_WINDOW)


def _qwen_window(fields: Fields, kinds: set[str]) -> int | None:
    """Return the window of a Qwen that uses one.

    The first `max_window_layers` layers see everything, unless `layer_types` says which do.
    """
    if kinds == {_FULL} or _is_null(fields):
        return None
    if kinds and kinds != {_SLIDING}:
        _refuse_layers(fields)
    if not kinds:
        full = fields.config.get("max_window_layers", _QWEN_FULL_LAYERS)
        layers = fields.size("num_hidden_layers")
        if isinstance(full, int) and full >= layers:
            return None
        # With 0 every layer has the window.
        if full != 0:
            fields.problems.append(
                f"max_window_layers={short(full)} is not supported with use_sliding_window=true: "
                f"it gives a window to some of {layers} layers (only 0, or {layers} and more)"
            )
    return fields.size("sliding_window", _MISTRAL_WINDOW)


def _is_null(fields: Fields) -> bool:
    """Say whether the file has a null for the window, which is another thing than no key."""
    return fields.config.get("sliding_window", _MISTRAL_WINDOW) is None


def _refuse_layers(fields: Fields) -> None:
    layer_types = short(fields.config["layer_types"])
    fields.problems.append(
        f"layer_types={layer_types} is not supported "
        f"(only {_FULL} in all layers, or one window for all)"
    )
