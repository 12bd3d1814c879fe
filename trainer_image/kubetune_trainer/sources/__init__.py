"""Where models and data come from: Hugging Face, S3, mounted volumes."""
