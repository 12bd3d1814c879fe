"""Questions to models: passed on to the server that has the model, and its answers passed back."""
