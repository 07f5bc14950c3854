"""The command `simpang`: one module per group of verbs, imported only when its verb is used."""
