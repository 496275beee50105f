"""`python -m flowtide.cli.ctl` is the command `flowtidectl`."""

from flowtide.cli.ctl import main

main()
