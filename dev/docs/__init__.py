"""The documentation as a site of its own, which needs no other host: docs/adr/0133."""
