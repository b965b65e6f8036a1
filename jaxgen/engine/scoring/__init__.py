"""Scores and log-likelihoods of given tokens."""
