"""Writes `dist/`: all that an install takes, also where no registry can be reached."""
