"""The Python API: run a measurement, or load a model into this process."""
