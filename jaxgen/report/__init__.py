"""Finished results as pages that people read: `report.md`, one self-contained `report.html`, and every plot as a file.

Everything is made from what a run left on disk: nothing is measured, nothing is fetched, and jax is not imported.
"""
