"""Script tasks: a process with files, variables and an output protocol, in a language each (C §11 to §14)."""
