"""Which models there are, who answers as them, and what deploys them."""
