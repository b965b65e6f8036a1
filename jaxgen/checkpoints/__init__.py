"""Weights: Hugging Face safetensors become a checked Orbax checkpoint once, which is then restored onto devices."""
