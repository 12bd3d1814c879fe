"""What goes over the wire, in the words of OpenAI's API."""
