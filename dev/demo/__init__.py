"""The demo: one FineTuneJob from a dataset to a served model, and a table that shows what it learned."""
