"""What answers are worth: questions, metrics, statistics, and the report that is made of them."""
