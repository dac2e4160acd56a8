"""What tests break the node with: a chain of its own, an RPC endpoint that misbehaves, a process that dies on cue."""
