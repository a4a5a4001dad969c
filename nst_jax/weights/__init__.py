"""The network's parameters: in memory, in files, from other programs, from the network."""
