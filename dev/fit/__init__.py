"""Training of random models for a few steps: what the estimate is compared with."""
