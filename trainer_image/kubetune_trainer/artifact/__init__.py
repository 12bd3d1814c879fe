"""What training yields: written, checked and published."""
