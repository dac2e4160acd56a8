"""The whole oracle on a local chain, told as a story; `liar` is the dishonest node in it."""
