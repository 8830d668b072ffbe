"""Define the command ``sair`` and its sub-commands."""
