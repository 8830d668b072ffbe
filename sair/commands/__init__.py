"""The command line: ``sair`` and what each of its sub-commands does."""
