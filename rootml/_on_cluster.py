"""The methods of `Dataset` that have to do with Dask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rootml.dataset import Dataset


class OnCluster:
    """What `Dataset` can do with a Dask cluster."""

    def on(self, client: Any) -> Dataset:
        """The same events; passes over them are made on a Dask cluster instead of in threads here.

        That goes for ``scan``, ``cutflow``, ``describe``, ``to_awkward``, ``to_arrow``, ``skim``,
        ``write_friend`` (with a function) and ``batches``, for scores of forests and for morphing,
        and for datasets made from this one.
        Results are the same, bit for bit and in the same order, whatever the number of workers.

        Work is sent as plain futures over ranges of entries, about two per thread of the cluster
        at a time. A partition that fails is tried three times in all, one whose worker dies as
        often as Dask is configured to (``distributed.scheduler.allowed-failures``); then there is
        one error with the file and the range of entries; `skim` and `write_friend`, called again,
        go on with the files that are not finished. Workers need the same packages, and see
        the same paths; `skim` of several files is written by the workers, one file each.

        Args:
            client: A `distributed.Client`; None: in threads here again.

        Raises:
            UsageError: Something else, or an asynchronous client.
            MissingPackageError: Dask is not installed.
            ClusterError: From reading: a cluster that is gone, or fails again and again.

        On the cores of this machine::

            from distributed import Client, LocalCluster

            with LocalCluster(n_workers=4, threads_per_worker=2) as cluster, Client(cluster) as c:
                paths = data.on(c).skim("skims/")

        Dask's nanny tells glibc to give memory back to the system at once
        (``MALLOC_TRIM_THRESHOLD_=65536``), which then zeroes each page again: a scan takes three
        times as long. Where that is so, work of ours lets the worker process keep up to 128 MB; a
        value of your own in ``distributed.nanny.pre-spawn-environ`` stays.

        On a batch system (``pip install dask-jobqueue``; at CERN ``dask-lxplus``)::

            from dask_jobqueue import HTCondorCluster

            cluster = HTCondorCluster(cores=1, memory="2 GB", disk="1 GB")
            cluster.scale(200)
            loader = data.on(cluster.get_client()).batches(1024, shuffle=True)

        On Kubernetes (``pip install dask-kubernetes``), with an image that has rootml::

            from dask_kubernetes.operator import KubeCluster

            cluster = KubeCluster(name="skims", image="registry.example.org/me/rootml:latest")
            cluster.adapt(minimum=1, maximum=50)
            table = data.on(cluster.get_client()).to_arrow()
        """
        from rootml._dask import DaskPlace

        data: Any = self
        place = None if client is None else DaskPlace(client)
        return type(data)(data.samples, _scans=data._scans, _place=place)  # type: ignore[no-any-return]

    def to_dask(self) -> Any:
        """The selected events as a lazy dask-awkward array: as `to_awkward`, by partitions.

        Cuts are evaluated when a partition is computed; nothing is scanned or read now, but the
        files are opened. All selected columns are read, so `select` what is needed before.

        Raises:
            MissingPackageError: Dask or dask-awkward is not installed.
        """
        from rootml._to_dask import to_dask

        data: Any = self
        return to_dask(data)
