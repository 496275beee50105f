"""For tests, also those of plugin authors: clocks, harnesses, contract suites."""
