"""Pages of HTML that need nothing else: no script, no network."""
