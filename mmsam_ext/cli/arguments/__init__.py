"""The arguments of commands, a file a command, read without importing PyTorch: errors and ``--help`` come at once."""
