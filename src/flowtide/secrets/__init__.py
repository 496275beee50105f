"""Where secrets come from (`Secrets`, `open_secrets`), and how they are kept out of what people see (`Mask`)."""

from flowtide.secrets.backends import open_secrets
from flowtide.secrets.environment import EnvironmentSecrets
from flowtide.secrets.masking import STARS, Mask, StreamMask
from flowtide.secrets.port import Secrets

__all__ = ["STARS", "EnvironmentSecrets", "Mask", "Secrets", "StreamMask", "open_secrets"]
