"""The paths of OpenAI's API, and of Azure's."""
