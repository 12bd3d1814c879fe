"""Rows: from bytes of any file to checked examples, the file of tokenised rows, and their order."""
