"""The machine that a run is measured on: what it is, how busy it is, and how fast."""
