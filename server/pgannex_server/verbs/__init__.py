"""What the server can be asked to do: one file per verb, found by name in `service.VERBS`."""
