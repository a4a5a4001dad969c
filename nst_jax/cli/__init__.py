"""The command `nst-jax`: one file a subcommand."""
