"""The condition types of the language, by what they look at."""
