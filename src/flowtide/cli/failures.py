"""What a person is told when a command cannot go on: an exception in, a sentence out, or None for a defect."""

from __future__ import annotations

import errno


def failure_of(error: BaseException) -> str | None:
    """What is wrong and what to do; None when the error is a defect of ours, whose trace is worth reading."""
    from flowtide.errors import FlowtideError  # `flowtide --help` needs no errors

    if isinstance(error, FlowtideError):
        return error.message
    if isinstance(error, OSError):
        return _system(error)
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return failure_of(error.exceptions[0])
    return None


def _system(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"{port_of(error)} is in use by another program: stop it, or choose another port "
            "(`--port` for the API, `endpoints.all.port` in the settings for management)"
        )
    if error.errno in (errno.EACCES, errno.EPERM) and error.filename is None:
        return f"the system does not allow it: {error.strerror or error}; ports below 1024 need rights"
    where = f"{error.filename}: " if error.filename is not None else ""
    return f"{where}{error.strerror or error}"


def port_of(error: OSError) -> str:
    """The address that an error of binding names, as far as its text tells."""
    text = str(error)
    if "('" in text:
        host, _, rest = text.partition("('")[2].partition("', ")
        port = "".join(character for character in rest.partition(")")[0] if character.isdigit())
        if port:
            return f"port {port} of {host}"
    return "the port"
