"""Decision forests: read, compile, predict, export."""

from __future__ import annotations

from rootml.bdt._folds import predict_out_of_fold, write_out_of_fold
from rootml.bdt._forest import Forest
from rootml.bdt._load import load
from rootml.bdt._model import Model

__all__ = ["Forest", "Model", "load", "predict_out_of_fold", "write_out_of_fold"]
