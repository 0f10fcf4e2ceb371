"""What a run's config is: a dataclass per section, with the range of every value beside its type.

The YAML file that a docstring names explains each key. What spans several keys is checked in `__post_init__`, which
raises ConfigError.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pipeline.config.checks import ConfigError, require, shown
from pipeline.config.data import DataConfig
from pipeline.config.optimizer import OptimizerConfig
from pipeline.config.rules import (
    CODE,
    FILTERS,
    LABEL,
    MOST_LAYERS,
    MOST_PIXELS,
    PATH,
    SHIFTS,
    SIZES,
    UNITS,
    number,
    one_of,
    whole,
)
from pipeline.system.addresses import (
    DATABASES,
    SERVERS,
    is_address,
    is_database,
    is_same_database,
    sqlite_file,
    sqlite_url,
    without_user,
)
from pipeline.system.messages import hide, hide_environment, masked_whole, shown_address

Examples = Annotated[int, whole(1, 100_000_000)]
AtOnce = Annotated[int, whole(1, 1_000_000)]
Pixels = Annotated[int, whole(1, MOST_PIXELS)]
Share = Annotated[float, number(at_least=0, below=1)]
FromZero = Annotated[float, number(at_least=0)]
Seed = Annotated[int, whole(0, 2**31 - 1)]
Label = Annotated[str, LABEL]

# From which store=server takes the addresses of MLflow's server and Optuna's database.
TRACKING_URI, OPTUNA_URL = "MLFLOW_TRACKING_URI", "CONVSWEEP_OPTUNA_URL"
FROM_ENVIRONMENT = (
    ("tracking_uri", TRACKING_URI, "http://HOST:5000"),
    ("optuna_url", OPTUNA_URL, "postgresql+psycopg://USER@HOST/optuna"),
)


@dataclass
class AugmentationConfig:
    """Random changes of the training images: conf/model/conv.yaml."""

    flip: Annotated[str, one_of("none", "horizontal", "vertical", "both")]
    shift: Share
    rotate: Annotated[float, number(at_least=0, below=360, unit="a number of degrees")]
    zoom: Share

    @property
    def used(self) -> bool:
        """Whether anything is changed at all."""
        return self.flip != "none" or any((self.shift, self.rotate, self.zoom))


@dataclass
class ModelConfig:
    """An architecture: conf/model/conv.yaml."""

    name: Label
    description: str
    filters: Annotated[Any, FILTERS]  # null where there is no convolution
    conv_layers: Annotated[int, whole(0, MOST_LAYERS)]
    kernel_size: Pixels
    stride: Pixels
    padding: Annotated[str, one_of("valid", "same")]
    pool: Annotated[str, one_of("each", "inner", "last", "none")]
    pool_size: Pixels
    dropout: Share
    dropout_after: Annotated[str, one_of("each", "inner")]
    dense_units: Annotated[list[int], UNITS]
    activation: Annotated[str, one_of("relu", "elu", "gelu", "selu", "silu", "tanh", "sigmoid", "linear")]
    l1: FromZero
    l2: FromZero
    augmentation: AugmentationConfig
    # With defaults, as older stores have none of them.
    builder: str | None = None
    args: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.builder is not None:
            self._check_builder()
        require(self.builder is not None or not self.args, "model.args", self.args, "{} without model.builder")
        require(self.filters is not None or self.conv_layers == 0, "model.filters", self.filters, FILTERS.words)
        if isinstance(self.filters, list):
            matches = len(self.filters) == self.conv_layers
            require(matches, "model.filters", self.filters, f"as long as model.conv_layers={self.conv_layers}")

    def _check_builder(self) -> None:
        """Refuse what is no path, and what only our own layers heed. It may be empty where trials differ in it."""
        require(not self.builder or CODE.fits(self.builder), "model.builder", self.builder, f"{CODE.words}, or null")
        unused: dict[str, Any] = {"filters": None, "conv_layers": 0, "dense_units": [], "dropout": 0, "l1": 0, "l2": 0}
        for key, neutral in unused.items():
            value = getattr(self, key)
            allowed = f"{shown(neutral)} with model.builder, which knows nothing of it; model.args.* are its arguments"
            require(value == neutral, f"model.{key}", value, allowed)

    @property
    def filters_per_layer(self) -> list[int]:
        """Number of filters of each convolution; `conv_layers` entries."""
        return list(self.filters) if isinstance(self.filters, list) else [self.filters] * self.conv_layers


@dataclass
class TrainerConfig:
    """How a model is trained: conf/trainer/course.yaml."""

    epochs: Annotated[int, whole(1, 100_000)]
    batch_size: AtOnce
    steps_per_epoch: Annotated[int | None, whole(1, 1_000_000)]
    shuffle: Annotated[str, one_of("epoch", "once", "none")]
    precision: Annotated[str, one_of("auto", "float32", "mixed_bfloat16")]
    stop_at_accuracy: Annotated[float | None, number(above=0, at_most=1)]
    evaluate_test: bool
    train_eval_size: Examples
    eval_batch_size: AtOnce
    threads: Annotated[int | None, whole(1, 256)]
    steps_per_execution: Annotated[int | None, whole(1, 1_000_000)]
    # With defaults, as older stores have none of them.
    gradient_norms: bool = False
    test_shifts: Annotated[list[float], SHIFTS] = field(default_factory=list)
    test_sizes: Annotated[list[float], SIZES] = field(default_factory=list)


@dataclass
class StoreConfig:
    """Where results are stored: conf/store/local.yaml, conf/store/server.yaml."""

    root: Annotated[str, PATH]
    tracking_uri: str | None
    optuna_url: str | None
    retry_seconds: Annotated[float, number(above=0, unit="a number of seconds")]
    log_model: Annotated[str, one_of("none", "best", "all")]
    ui_port: Annotated[int, whole(1, 65534, "a port")]

    def __post_init__(self) -> None:
        hide_environment()
        for address in filter(None, (self.tracking_uri, self.optuna_url)):
            hide(address)
        self._require_set()
        uri, url = self.tracking_uri, self.optuna_url
        for key, configured, schemes, more, variable in (
            ("tracking_uri", uri, (*SERVERS, *DATABASES), " or http://host:5000", TRACKING_URI),
            ("optuna_url", url, DATABASES, "", OPTUNA_URL),
        ):
            fits = configured is None or is_address(configured, schemes)
            allowed = f"null, or an address as in sqlite:////home/me/x.db, postgresql://me@host/x{more}"
            allowed += "" if configured else f"; store=server takes it from {variable}"
            require(fits, f"store.{key}", masked_whole(configured or ""), allowed)
        if uri or url:
            apart = not is_same_database(self.mlflow_uri, self.optuna_uri)
            allowed = "another database than MLflow's: the two break each other"
            require(apart, "store.optuna_url", shown_address(self.optuna_uri), allowed)

    def _require_set(self) -> None:
        """Raise ConfigError for addresses that are to come from variables which are not set."""
        missing = [each for each in FROM_ENVIRONMENT if getattr(self, each[0]) == "" and not os.environ.get(each[1])]
        if missing:
            names = " and ".join(variable for _, variable, _ in missing)
            exports = " ".join(f"{variable}={example}" for _, variable, example in missing)
            keys = " ".join(f"store.{key}=..." for key, *_ in missing)
            are = "are" if missing[1:] else "is"
            raise ConfigError(f"{names} {are} not set: export {exports}, or give {keys}")

    @property
    def folder(self) -> Path:
        """`root` as an absolute path."""
        return Path(self.root).expanduser().resolve()

    @property
    def exists(self) -> bool:
        """Whether anything was tracked here; of a server or database elsewhere that is taken for granted."""
        file = sqlite_file(self.tracking_uri) if self.tracking_uri else self.folder / "mlflow.db"
        return file is None or (file.exists() and file.stat().st_size > 0)

    @property
    def mlflow_uri(self) -> str:
        """MLflow's tracking URI: as configured, or SQLite in the folder; absolute."""
        return self.tracking_uri or self._sqlite("mlflow.db")

    @property
    def optuna_uri(self) -> str:
        """Optuna's storage: as configured, or SQLite in the folder."""
        return self.optuna_url or self._sqlite("optuna.db")

    @property
    def is_server(self) -> bool:
        """Whether MLflow is a server, which others use too, and which keeps files for its clients."""
        return not is_database(self.mlflow_uri)

    @property
    def place(self) -> str:
        """Where runs are, for people: the folder, or the address of a server or database, without its password."""
        return shown_address(self.tracking_uri) if self.tracking_uri else str(self.folder)

    @property
    def pages(self) -> str:
        """Address of MLflow's pages, without a path: the server's, or where `convsweep ui` serves them."""
        return without_user(self.mlflow_uri) if self.is_server else f"http://127.0.0.1:{self.ui_port}"

    @property
    def launches_uri(self) -> str:
        """Where launches know of each other: Optuna's database; launches.db beside it where that is an SQLite file."""
        if not self.optuna_uri.startswith("sqlite"):
            return self.optuna_uri
        file = sqlite_file(self.optuna_uri)
        return sqlite_url(file.with_name("launches.db")) if file else self._sqlite("launches.db")

    def _sqlite(self, name: str) -> str:
        try:
            return sqlite_url(self.folder / name)
        except ValueError as error:
            raise ConfigError(f"store.root={self.root!r} is not allowed: {error}") from error


@dataclass
class CheckpointsConfig:
    """Which checkpoints stay: conf/train.yaml."""

    max_gib: Annotated[float, number(at_least=0, unit="a number of GiB")]


@dataclass
class RunConfig:
    """Everything that one run needs: one training of one model with one seed. See conf/train.yaml."""

    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    trainer: TrainerConfig
    store: StoreConfig
    checkpoints: CheckpointsConfig
    seed: Seed

    def __post_init__(self) -> None:
        self.check_run()

    def check_run(self) -> None:
        """Raise ConfigError for what cannot be run, but may be what the configs of runs are composed from."""
        self.optimizer.require_consistent()
        rising, epochs = self.optimizer.warmup_epochs, self.trainer.epochs
        allowed = f"below trainer.epochs={epochs} with optimizer.schedule=cosine, which falls until the run ends"
        ends_before = rising < epochs or not self.optimizer.depends_on_epochs
        require(ends_before, "optimizer.warmup_epochs", rising, allowed)
        if self.data.is_complete:  # else it is checked when it is
            self._check_data()

    def _check_data(self) -> None:
        """Raise ConfigError for what does not go together with the dataset."""
        data, model, trainer = self.data, self.model, self.trainer
        are_images, shape = len(data.shape) == 3, data.shape
        grey = f"; of grey images say data.shape=[{shape[0]},{shape[1]},1]" if len(shape) == 2 else ""
        allowed = f"0 with data={data.name}, whose examples have the shape {shape}{grey}"
        require(are_images or model.conv_layers == 0, "model.conv_layers", model.conv_layers, allowed)
        no_images = f"with data={data.name}, whose examples are no images{grey}"
        fits = are_images or not model.augmentation.used
        require(fits, "model.augmentation", model.augmentation, f"none of it {no_images}")
        for key in ("test_shifts", "test_sizes"):
            values = getattr(trainer, key)
            require(are_images or not values, f"trainer.{key}", values, f"[] {no_images}")
        fits = trainer.stop_at_accuracy is None or data.has_classes
        allowed = "null: a regression has no accuracy"
        require(fits, "trainer.stop_at_accuracy", trainer.stop_at_accuracy, allowed)
        self._check_changes()

    def _check_changes(self) -> None:
        """Raise ConfigError for changes that leave test images as they are, or nothing of them."""
        data = self.data
        allowed = f"1 pixel or more of the height and width of data={data.name}, {data.shape[:2]}, rounded"
        for share in self.trainer.test_shifts:
            fits = all(1 <= moved < side for moved, side in zip(data.pixels(share), data.shape, strict=False))
            require(fits, "trainer.test_shifts", share, f"{allowed}, and not all")
        for size in self.trainer.test_sizes:
            require(min(data.pixels(size)) >= 1, "trainer.test_sizes", size, allowed)
