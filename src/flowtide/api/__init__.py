"""The HTTP interface, a module a resource."""
