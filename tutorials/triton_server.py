# %% [markdown]
# # The server of the tutorial on inference as a service
#
# Binds a compiled forest to NVIDIA Triton. It runs in an environment of its own, because
# `nvidia-pytriton`, which brings the server's binaries, wants NumPy 1:
#
# ```sh
# /usr/bin/python3 -m venv triton      # an interpreter with a shared libpython
# triton/bin/pip install nvidia-pytriton 'rootml[bdt]' 'pyarrow<22'
# triton/bin/python triton_server.py model.forest.json 8000
# ```

# %%
from __future__ import annotations

import sys
from typing import Any

import numpy as np

import rootml


def serve(path: str, port: int) -> None:
    """Serve the forest of a file as the model `tagger` until the process is ended."""
    from pytriton.decorators import batch
    from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    forest = rootml.bdt.load(path)
    model = forest.compile()
    outputs = ("margin", "prediction")

    def score(features: Any) -> dict[str, Any]:
        """Outputs `(events, outputs)` of features `(events, features)` of some requests."""
        found = model.predict_margin(features), model.predict(features)
        shaped = [np.reshape(each, (len(features), -1)) for each in found]
        return dict(zip(outputs, shaped, strict=True))

    configuration = TritonConfig(http_port=port, grpc_port=port + 1, metrics_port=port + 2)
    with Triton(config=configuration) as triton:
        triton.bind(
            "tagger",
            batch(score),
            inputs=[
                Tensor(name="features", dtype=forest.input_dtype, shape=(forest.num_features,))
            ],
            outputs=[Tensor(name=name, dtype=forest.dtype, shape=(-1,)) for name in outputs],
            config=ModelConfig(
                max_batch_size=65_536, batcher=DynamicBatcher(max_queue_delay_microseconds=200)
            ),
        )
        triton.serve()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
