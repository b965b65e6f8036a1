"""Weights: Hugging Face safetensors become a checked Orbax checkpoint, restored onto devices."""
