"""The exact engine: language models in integers, the same bits on every machine.

`docs/numerics.md` is the norm; `operators.py` says the same in code, one function an operator. Read that first, then
`model.py`, which puts the operators in order. `weights.py` reads a model file and refuses those for which the integers
could overflow, `powers.py` and `rotations.py` make the tables of constants, `engine.py` is what a node runs.
"""
