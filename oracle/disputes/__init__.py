"""Disputes about answers of exact models: what parties show a contract, which then computes the number in question."""
