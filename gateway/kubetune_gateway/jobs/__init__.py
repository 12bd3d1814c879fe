"""Between a job of OpenAI's API and a FineTuneJob, both ways."""
