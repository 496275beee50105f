"""Contract suites: what every adapter of a port must do, as test classes that are run on each of them."""
