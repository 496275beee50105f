"""Where secrets come from (`Secrets`), and how they are kept out of what people see (`Mask`) and out of what is stored
(`Encryption`).
"""

from flowtide.secrets.backends import open_secrets
from flowtide.secrets.encryption import Encryption, open_encryption
from flowtide.secrets.environment import EnvironmentSecrets
from flowtide.secrets.masking import STARS, Mask, StreamMask
from flowtide.secrets.port import Secrets

__all__ = [
    "STARS",
    "Encryption",
    "EnvironmentSecrets",
    "Mask",
    "Secrets",
    "StreamMask",
    "open_encryption",
    "open_secrets",
]
