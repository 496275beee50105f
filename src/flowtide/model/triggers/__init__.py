"""The trigger types of the language, a module each: their YAML properties."""
