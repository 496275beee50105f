"""Where secrets come from (`Secrets`), and how they are kept out of what people see (`Mask`) and out of what is stored
(`Encryption`).
"""

from flowtide.secrets.backends import STORED_KINDS, open_secrets, open_secrets_file
from flowtide.secrets.encryption import Encryption, open_encryption
from flowtide.secrets.environment import EnvironmentSecrets
from flowtide.secrets.file import FileSecrets, SecretsFile
from flowtide.secrets.keyring import Keyring, encryption_of_phrase
from flowtide.secrets.masking import STARS, Mask, StreamMask
from flowtide.secrets.port import Secrets

__all__ = [
    "STARS",
    "STORED_KINDS",
    "Encryption",
    "EnvironmentSecrets",
    "FileSecrets",
    "Keyring",
    "Mask",
    "Secrets",
    "SecretsFile",
    "StreamMask",
    "encryption_of_phrase",
    "open_encryption",
    "open_secrets",
    "open_secrets_file",
]
