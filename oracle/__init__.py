"""Didyma's node: follows the chain, answers its turns, checks others' answers, disputes wrong ones."""

ENVIRONMENT_PREFIX = "DIDYMA_"
"""Of every environment variable that sets something here."""
