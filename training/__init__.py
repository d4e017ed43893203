"""Training of AiOS: synthetic people, losses, matching, the loop."""
