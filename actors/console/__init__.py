"""The operator's doors: one set of verbs behind each of them."""
