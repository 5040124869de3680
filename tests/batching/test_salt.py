"""HDF5 in Salt's layout, shown by Salt itself: one epoch of its own training command.

Salt (``salt-ml`` on PyPI) pins many packages, so it lives in an environment of its own. The
variable ROOTML_SALT names the Python of that environment; without it the test is skipped.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

import rootml
from rootml.batching import Padded

PYTHON = os.environ.get("ROOTML_SALT", "")
EVENTS = 6000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="ROOTML_SALT names no Python that has salt-ml"),
]

CONFIG = """
name: rootml
model:
  lrs_config: {initial: 1e-3, max: 5e-3, end: 1e-3, pct_start: 0.1, weight_decay: 1e-5}
  model:
    class_path: salt.models.SaltModel
    init_args:
      init_nets:
        - input_name: jets
          attach_global: true
          dense_config: {output_size: 16, hidden_layers: [16], activation: ReLU}
      encoder:
        class_path: salt.models.Transformer
        init_args:
          num_layers: 1
          embed_dim: 16
          out_dim: 16
          attn_type: torch-math
          norm: LayerNorm
          dense_kwargs: {activation: ReLU}
          attn_kwargs: {num_heads: 2}
      pool_net: {class_path: salt.models.GlobalAttentionPooling, init_args: {input_size: 16}}
      tasks:
        class_path: torch.nn.ModuleList
        init_args:
          modules:
            - class_path: salt.models.ClassificationTask
              init_args:
                name: events_classification
                input_name: events
                label: flavour
                class_names: [background, signal]
                loss: {class_path: torch.nn.CrossEntropyLoss, init_args: {reduction: none}}
                dense_config: {input_size: 16, output_size: 2, hidden_layers: [16]}
                sample_weight: weight
            - class_path: salt.models.ClassificationTask
              init_args:
                name: jets_classification
                input_name: jets
                label: origin
                class_names: [background, signal]
                loss: {class_path: torch.nn.CrossEntropyLoss}
                dense_config: {input_size: 16, output_size: 2, context_size: 16}
data:
  global_object: events
  input_map: {events: events, jets: jets}
  variables: {events: [met], jets: [pt, eta]}
  norm_dict: norm.yaml
  class_dict: null
  train_file: saved/train/part-*.h5
  val_file: saved/validation/part-00000.h5
  batch_size: 100
  num_workers: 0
  pin_memory: false
trainer:
  max_epochs: 1
  accelerator: cpu
  devices: 1
  logger: false
  default_root_dir: logs
  callbacks:
    - class_path: salt.callbacks.Checkpoint
      init_args: {monitor_loss: val/events_classification_loss}
    - {class_path: lightning.pytorch.callbacks.ModelSummary, init_args: {max_depth: 1}}
"""
NORM = """
jets: {pt: {mean: 50.0, std: 30.0}, eta: {mean: 0.0, std: 1.0}}
events: {met: {mean: 35.0, std: 12.0}}
"""


@pytest.fixture
def data(tmp_path: Path) -> rootml.Dataset:
    """Two classes that differ in the missing energy and in the momenta of up to six jets."""
    rng = np.random.default_rng(1)
    signal = rng.integers(0, 2, EVENTS).astype(np.int32)
    counts = rng.poisson(3, EVENTS)
    owners = np.repeat(signal, counts)
    columns = {
        "Jet_pt": 20 + 30 * rng.exponential(size=len(owners)) + 20 * owners,
        "Jet_eta": rng.normal(size=len(owners)),
    }
    lists = {name: ak.unflatten(v.astype(np.float32), counts) for name, v in columns.items()}
    lists["Jet_origin"] = ak.unflatten(owners, counts)
    met = (30 + 10 * signal + 10 * rng.normal(size=EVENTS)).astype(np.float32)
    with uproot.recreate(tmp_path / "events.root") as file:
        file["Events"] = {**lists, "met": met, "signal": signal}
    names = {"pt": "Jet_pt", "eta": "Jet_eta", "origin": "Jet_origin"}
    path = f"{tmp_path / 'events.root'}:Events"
    return rootml.open(path, label="signal", weight="1.0").define(names)


def test_salt_trains_on_what_was_saved(data: rootml.Dataset, tmp_path: Path) -> None:
    for name, part_bytes in {"train": "40 kB", "validation": "1 GB"}.items():
        loader = data.batches(
            500,
            shuffle=True,
            seed=1,
            inputs={"jets": Padded(["pt", "eta"], length=6), "event": ["met"]},
            # integers: Salt's classes
            observers={"flavour": "signal", "jets": Padded(["origin"], length=6)},
        )
        files = loader.save(tmp_path / "saved", format="hdf5", split=name, part_bytes=part_bytes)
        assert (len(files) > 1) == (name == "train")
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "norm.yaml").write_text(NORM)
    command = [PYTHON, "-m", "salt.main", "fit", "--config", "config.yaml", "--force"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=900)
    (checkpoint,) = (tmp_path / "logs").rglob("*.ckpt")
    found = re.search(r"val_loss=([\d.]+)\.ckpt", checkpoint.name)
    assert found is not None
    # it learned from both data sets: met alone separates to a loss of .59, a coin gives .69
    assert float(found[1]) < 0.58
