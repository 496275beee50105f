"""`python -m flowtide` is the command `flowtide`."""

from flowtide.cli import main

main()
