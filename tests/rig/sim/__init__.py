"""A chain in this process: the contracts' real bytecode under Osaka's rules, without a node and without sockets."""
