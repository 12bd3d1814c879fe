"""Asks the candidates, scores what they answer, and says whether the result passes."""
