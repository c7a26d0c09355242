"""What may happen between the batches and epochs of `fit`, `evaluate` and `predict`."""

from cgru.callbacks.backup import BackupAndRestore
from cgru.callbacks.base import Callback, LambdaCallback, Logs
from cgru.callbacks.checkpoint import ModelCheckpoint
from cgru.callbacks.container import CallbackList
from cgru.callbacks.monitors import EarlyStopping, MonitorCallback, ReduceLROnPlateau
from cgru.callbacks.records import CSVLogger, History, ProgbarLogger
from cgru.callbacks.steering import LearningRateScheduler, TerminateOnNaN
from cgru.callbacks.tensorboard import TensorBoard

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "Logs",
    "ModelCheckpoint",
    "MonitorCallback",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
]
