"""The endpoints of identities, a module per resource: who there is, and what they may do."""
