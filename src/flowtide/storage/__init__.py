"""Files of executions: where they stand (`paths`), how they are read and written (`Storage`), on what
(`open_storage`), and which of several ones a file stands on (`RoutedStorage`).
"""

from flowtide.storage.backends import open_blocking, open_storage, storage_kinds
from flowtide.storage.blocking import BlockingStorage
from flowtide.storage.facade import Storage
from flowtide.storage.paths import (
    ExecutionFolder,
    check_readable,
    execution_files,
    input_file,
    key_value_file,
    named_namespace_file,
    namespace_file,
    namespace_file_content,
    task_cache_file,
    task_run_file,
    trigger_file,
)
from flowtide.storage.routing import RoutedStorage, check_storage

__all__ = [
    "BlockingStorage",
    "ExecutionFolder",
    "RoutedStorage",
    "Storage",
    "check_readable",
    "check_storage",
    "execution_files",
    "input_file",
    "key_value_file",
    "named_namespace_file",
    "namespace_file",
    "namespace_file_content",
    "open_blocking",
    "open_storage",
    "storage_kinds",
    "task_cache_file",
    "task_run_file",
    "trigger_file",
]
