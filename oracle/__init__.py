"""Didyma's node: follows the chain, answers its turns, checks others' answers, disputes wrong ones."""
