"""Schemas of one run, their checks, and composing them from conf/ and the command line's overrides."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pipeline.system.addresses import DATABASES, SERVERS, is_address, sqlite_file, sqlite_url
from pipeline.system.files import require_regular
from pipeline.system.messages import hide, masked, masked_whole, shown_address

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

CONF = Path(__file__).resolve().parents[2] / "conf"

ACTIVATIONS = ("relu", "elu", "gelu", "selu", "silu", "tanh", "sigmoid", "linear")
# Beyond these a number is a slip of the hand. They are the same on every machine: so is what a config means.
MOST_EPOCHS = 100_000
MOST_AT_ONCE = 1_000_000  # examples per step, steps at once
MOST_EXAMPLES = 100_000_000
MOST_LAYERS = 100
MOST_UNITS = 100_000  # of a layer
MOST_PIXELS = 10_000  # of a side
MOST_THREADS = 256
MOST_CHARACTERS = 10_000  # of an override
LARGEST: dict[Any, float] = {int: 10**15, float: 1e30}
PRECISIONS = ("auto", "float32", "mixed_bfloat16")
SHUFFLES = ("epoch", "once", "none")


class ConfigError(ValueError):
    """A config that cannot be run. The message says what was wrong, what is allowed and what to do."""


def require(ok: bool, key: str, value: object, allowed: str) -> None:
    """Raise ConfigError naming `key`, its `value` and what is `allowed`, unless `ok`."""
    if not ok:
        raise ConfigError(f"{key}={shown(value)} is not allowed: {key} must be {allowed}")


def shown(value: object) -> str:
    """A value as it is written on the command line, cut where it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = masked(str(value))  # before it is cut
    return text if len(text) <= 200 else f"{text[:200]}..."


def require_whole(key: str, value: int | None, low: int, high: int, null: str = "") -> None:
    """Raise ConfigError unless `value` is from `low` to `high`, or None where `null` says what that stands for."""
    fits = low <= value <= high if value is not None else bool(null)
    require(fits, key, value, f"a whole number from {low} to {high}{null and f', or null{null}'}")


NAME = "at most 100 letters, digits, '_', '-' and '.', beginning with a letter or digit"


def require_label(key: str, name: str) -> None:
    """Raise ConfigError unless `name` can be part of a file's name, of a tag of MLflow's and of a layer's name."""
    require(bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name)), key, name, NAME)


def require_path(key: str, path: str | None) -> None:
    """Raise ConfigError unless `path` can be the name of a file or folder, or is None."""
    if path is None:
        return
    try:
        parts = Path(path).expanduser().parts
    except RuntimeError:  # ~somebody
        parts = ()
    fits = parts and all(len(part.encode()) <= 255 for part in parts) and len(path) < 1000 and "\n" not in path
    require(bool(fits), key, path, "a path")


def require_one_of(key: str, value: object, allowed: Iterable[str]) -> None:
    """Raise ConfigError unless `value` is one of `allowed`, suggesting the nearest."""
    options = list(allowed)
    require(value in options, key, value, f"one of {', '.join(options)}{did_you_mean(str(value), options)}")


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """The hint ' (did you mean X?)' for the nearest of `options`, or an empty string."""
    near = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


@dataclass
class FileConfig:
    """One file of a data set: its name without `.gz`, and the SHA-256 of its uncompressed content."""

    name: str
    sha256: str

    def __post_init__(self) -> None:
        """Check; raise ConfigError."""
        require_label("the name of a file in data.files", self.name)
        is_hash = re.fullmatch(r"[0-9a-f]{64}", self.sha256)
        require(bool(is_hash), f"data.files: the sha256 of {self.name}", self.sha256, "64 digits from 0 to f")


DIGITS = 1797  # inside scikit-learn
FILES = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass
class PointsConfig:
    """A data set so small that it stands in its config: x and y of training and test."""

    train_x: list[float]
    train_y: list[float]
    test_x: list[float]
    test_y: list[float]

    def __post_init__(self) -> None:
        """Check; raise ConfigError."""
        for part in ("train", "test"):
            x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
            pairs = len(x) == len(y) > 0
            require(pairs, f"data.points.{part}_y", y, f"as many numbers as data.points.{part}_x has, {len(x)}, from 1")


@dataclass
class DataConfig:
    """A data set and how it is split. conf/data/fashion_mnist.yaml explains each key."""

    name: str
    description: str
    format: str
    task: str
    shape: list[int]
    scale: float
    class_names: list[str]
    train_size: int
    test_size: int
    folder: str | None
    files: dict[str, FileConfig] | None
    urls: list[str]
    debian_package: str | None
    keras_npz: str | None
    sha256: str | None
    points: PointsConfig | None
    dir: str | None
    cache: str
    timeout: float
    limit: int | None
    val_fraction: float
    train_fraction: float

    def __post_init__(self) -> None:
        """Check ranges; raise ConfigError."""
        require_one_of("data.format", self.format, ("idx", "digits", "folders", "points"))
        require_one_of("data.task", self.task, ("multiclass", "binary", "regression"))
        require_label("data.name", self.name)
        sides = len(self.shape) in (1, 3) and all(1 <= side <= MOST_PIXELS for side in self.shape)
        require(sides, "data.shape", self.shape, f"one size, or three as in [28,28,1], each from 1 to {MOST_PIXELS}")
        require(self.scale > 0, "data.scale", self.scale, "a number above 0")
        for key in ("train_size", "test_size"):
            require_whole(f"data.{key}", getattr(self, key), 1, MOST_EXAMPLES)
        needed = {"idx": ("folder", "files"), "folders": ("folder",), "points": ("points",), "digits": ()}
        for where in needed[self.format]:
            has = getattr(self, where) is not None
            require(has, f"data.{where}", None, f"given with data.format={self.format}")
        fits = self.format != "idx" or set(self.files or {}) == set(FILES)
        require(fits, "data.files", list(self.files or {}), f"{', '.join(FILES)} with data.format=idx")
        self._check_classes()
        self._check_places()
        self._check_content()
        for key in ("dir", "cache", "folder"):
            require_path(f"data.{key}", getattr(self, key))
        require(0 < self.timeout <= 86400, "data.timeout", self.timeout, "seconds, above 0 and up to 86400")
        require_whole("data.limit", self.limit, 1, MOST_EXAMPLES, " for all")
        require(0 <= self.val_fraction < 1, "data.val_fraction", self.val_fraction, "from 0 up to but not including 1")
        require(0 < self.train_fraction <= 1, "data.train_fraction", self.train_fraction, "above 0 and up to 1")

    def _check_classes(self) -> None:
        number = len(self.class_names)
        allowed = {"multiclass": "at least two names", "binary": "two names", "regression": "[]"}[self.task]
        fits = {"multiclass": 2 <= number <= MOST_UNITS, "binary": number == 2, "regression": True}[self.task]
        require(fits, "data.class_names", self.class_names, f"{allowed} with data.task={self.task}")

    def _check_places(self) -> None:
        """Refuse paths where names are wanted: they lead out of the cache, or look as if they named another set."""
        own = "a set of your own needs a file in conf/data/, and is a folder of pictures per class, or IDX files"
        for key, allowed in (
            ("folder", f"the name of a folder within data.dir=FOLDER, or CONVSWEEP_DATA_DIR; {own}"),
            ("keras_npz", f"null, or the name of Keras's archive of this very set in its cache, as mnist.npz; {own}"),
        ):
            value = getattr(self, key)
            is_name = value is None or re.fullmatch(r"\w[^/\\:]*", value)
            require(bool(is_name), f"data.{key}", value, allowed)

    def _check_content(self) -> None:
        """Refuse what a set that is known without being read does not hold."""
        if self.format == "digits":
            sizes = self.train_size + self.test_size == DIGITS
            require(sizes, "data.test_size", self.test_size, f"the rest of the {DIGITS} digits, with data.train_size")
            require(self.shape == [8, 8, 1], "data.shape", self.shape, "[8,8,1] with data.format=digits")
            fits = self.task == "regression" or (self.task == "multiclass" and len(self.class_names) >= 10)
            require(fits, "data.class_names", self.class_names, "ten names, of data.task=multiclass, for ten digits")
        if self.format == "points" and self.points is not None:
            for part in ("train", "test"):
                size, number = getattr(self, f"{part}_size"), len(getattr(self.points, f"{part}_x"))
                require(size == number, f"data.{part}_size", size, f"{number}, as many as data.points has")
            require(self.shape == [1], "data.shape", self.shape, "[1] with data.format=points")
            require(self.task == "regression", "data.task", self.task, "regression with data.format=points")

    @property
    def outputs(self) -> int:
        """Units of the output layer: one per class, or a single one for binary and regression."""
        return len(self.class_names) if self.task == "multiclass" else 1


@dataclass
class AugmentationConfig:
    """Random changes of the training pictures. conf/model/conv.yaml explains each key."""

    flip: str
    shift: float
    rotate: float
    zoom: float

    def __post_init__(self) -> None:
        """Check ranges; raise ConfigError."""
        require_one_of("model.augmentation.flip", self.flip, ("none", "horizontal", "vertical", "both"))
        for key, allowed, limit in (("shift", "1", 1), ("rotate", "360 (degrees)", 360), ("zoom", "1", 1)):
            value = getattr(self, key)
            require(0 <= value < limit, f"model.augmentation.{key}", value, f"from 0 up to but not including {allowed}")

    @property
    def used(self) -> bool:
        """Whether anything is changed at all."""
        return self.flip != "none" or any((self.shift, self.rotate, self.zoom))


@dataclass
class ModelConfig:
    """An architecture. conf/model/conv.yaml explains each key."""

    name: str
    description: str
    filters: Any  # int, list[int], or None where there is no convolution; OmegaConf has no union with lists
    conv_layers: int
    kernel_size: int
    stride: int
    padding: str
    pool: str
    pool_size: int
    dropout: float
    dropout_after: str
    dense_units: list[int]
    activation: str
    l1: float
    l2: float
    augmentation: AugmentationConfig

    def __post_init__(self) -> None:
        """Check ranges; raise ConfigError."""
        require_label("model.name", self.name)
        for key in ("kernel_size", "stride", "pool_size"):
            require_whole(f"model.{key}", getattr(self, key), 1, MOST_PIXELS)
        require_whole("model.conv_layers", self.conv_layers, 0, MOST_LAYERS)
        require_one_of("model.padding", self.padding, ("valid", "same"))
        require_one_of("model.pool", self.pool, ("each", "inner", "last", "none"))
        require(0 <= self.dropout < 1, "model.dropout", self.dropout, "from 0 up to but not including 1")
        require_one_of("model.dropout_after", self.dropout_after, ("each", "inner"))
        units = self.dense_units
        fits = len(units) <= MOST_LAYERS and all(1 <= number <= MOST_UNITS for number in units)
        allowed = f"at most {MOST_LAYERS} whole numbers from 1 to {MOST_UNITS}, as in [128]"
        require(fits, "model.dense_units", units, allowed)
        require_one_of("model.activation", self.activation, ACTIVATIONS)
        for key in ("l1", "l2"):
            require(getattr(self, key) >= 0, f"model.{key}", getattr(self, key), "a number from 0")
        self._check_filters()

    def _check_filters(self) -> None:
        if self.filters is None and self.conv_layers == 0:
            return
        numbers = self.filters if isinstance(self.filters, list) else [self.filters]
        whole = all(type(number) is int and 1 <= number <= MOST_UNITS for number in numbers) and numbers
        allowed = f"a whole number from 1 to {MOST_UNITS}, or a list of them with one per convolution, as in [32,64]"
        require(bool(whole), "model.filters", self.filters, allowed)
        if isinstance(self.filters, list):
            matches = len(numbers) == self.conv_layers
            require(matches, "model.filters", self.filters, f"as long as model.conv_layers={self.conv_layers}")

    @property
    def filters_per_layer(self) -> list[int]:
        """Number of filters of each convolution; `conv_layers` entries."""
        return list(self.filters) if isinstance(self.filters, list) else [self.filters] * self.conv_layers


@dataclass
class OptimizerConfig:
    """An optimizer by name. conf/optimizer/adam.yaml explains each key."""

    name: str
    learning_rate: float
    momentum: float

    def __post_init__(self) -> None:
        """Check ranges; raise ConfigError."""
        require_one_of("optimizer.name", self.name, ("adam", "sgd", "rmsprop"))
        require(self.learning_rate > 0, "optimizer.learning_rate", self.learning_rate, "a number above 0")
        require(0 <= self.momentum < 1, "optimizer.momentum", self.momentum, "from 0 up to but not including 1")
        unused = self.name == "adam" and self.momentum != 0
        require(not unused, "optimizer.momentum", self.momentum, "0.0 with optimizer=adam, which has none")


@dataclass
class TrainerConfig:
    """How a model is trained. conf/trainer/course.yaml explains each key."""

    epochs: int
    batch_size: int
    steps_per_epoch: int | None
    shuffle: str
    precision: str
    stop_at_accuracy: float | None
    evaluate_test: bool
    train_eval_size: int
    eval_batch_size: int
    threads: int | None
    steps_per_execution: int | None

    def __post_init__(self) -> None:
        """Check ranges; raise ConfigError."""
        require_whole("trainer.epochs", self.epochs, 1, MOST_EPOCHS)
        for key in ("batch_size", "eval_batch_size"):
            require_whole(f"trainer.{key}", getattr(self, key), 1, MOST_AT_ONCE)
        require_whole("trainer.train_eval_size", self.train_eval_size, 1, MOST_EXAMPLES)
        for key in ("steps_per_epoch", "steps_per_execution"):
            require_whole(f"trainer.{key}", getattr(self, key), 1, MOST_AT_ONCE, " for as many as suit")
        require_whole("trainer.threads", self.threads, 1, MOST_THREADS, " for as many as suit")
        require_one_of("trainer.shuffle", self.shuffle, SHUFFLES)
        require_one_of("trainer.precision", self.precision, PRECISIONS)
        stop = self.stop_at_accuracy
        require(stop is None or 0 < stop <= 1, "trainer.stop_at_accuracy", stop, "above 0 and up to 1, or null")


@dataclass
class StoreConfig:
    """Where results are kept. conf/store/local.yaml explains each key."""

    root: str
    tracking_uri: str | None
    optuna_url: str | None
    retry_seconds: float
    log_model: str
    ui_port: int

    def __post_init__(self) -> None:
        """Check ranges; raise ConfigError."""
        require_one_of("store.log_model", self.log_model, ("none", "best", "all"))
        require(1 <= self.ui_port <= 65535, "store.ui_port", self.ui_port, "a port, from 1 to 65535")
        require_path("store.root", self.root.strip())
        require(self.retry_seconds > 0, "store.retry_seconds", self.retry_seconds, "seconds, above 0")
        for address in filter(None, (self.tracking_uri, self.optuna_url)):
            hide(address)
        example = "null, or an address as in sqlite:////home/me/{0}.db, postgresql://me@host/{0}"
        uri, url = self.tracking_uri, self.optuna_url
        allowed = example.format("mlflow") + " or http://host:5000"
        is_one = uri is None or is_address(uri, (*SERVERS, *DATABASES))
        require(is_one, "store.tracking_uri", masked_whole(uri or ""), allowed)
        allowed = example.format("optuna")
        require(url is None or is_address(url, DATABASES), "store.optuna_url", masked_whole(url or ""), allowed)
        if uri or url:
            apart = shown_address(self.mlflow_uri) != shown_address(self.optuna_uri)
            allowed = "another database than MLflow's: the two break each other"
            require(apart, "store.optuna_url", shown_address(self.optuna_uri), allowed)

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
        return self.tracking_uri or self._own("mlflow.db")

    @property
    def optuna_uri(self) -> str:
        """Optuna's storage: as configured, or SQLite in the folder."""
        return self.optuna_url or self._own("optuna.db")

    def _own(self, name: str) -> str:
        try:
            return sqlite_url(self.folder / name)
        except ValueError as error:
            raise ConfigError(f"store.root={self.root!r} is not allowed: {error}") from error


def is_of_store(override: str) -> bool:
    """Whether an override says where results are kept, which is no part of what they are: it is never logged."""
    key = override.partition("=")[0].lstrip("+~")
    return key == "store" or key.startswith("store.")


def without_store(config: object) -> dict[str, Any]:
    """A config as it is logged: nested plain dictionaries, without where results are kept (and its passwords)."""
    return {section: values for section, values in to_dict(config).items() if section != "store"}


@dataclass
class CheckpointsConfig:
    """What is kept of trainings, to continue them. conf/train.yaml explains each key."""

    max_gib: float

    def __post_init__(self) -> None:
        """Check ranges; raise ConfigError."""
        require(self.max_gib >= 0, "checkpoints.max_gib", self.max_gib, "GiB, from 0")


@dataclass
class RunConfig:
    """Everything that one run needs: one training of one model with one seed."""

    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    trainer: TrainerConfig
    store: StoreConfig
    checkpoints: CheckpointsConfig
    seed: int

    def __post_init__(self) -> None:
        """Check ranges; raise ConfigError."""
        require_whole("seed", self.seed, 0, 2**31 - 1)
        image = len(self.data.shape) == 3
        fits = image or self.model.conv_layers == 0
        need = f"0 with data={self.data.name}, whose examples have the shape {self.data.shape}"
        require(fits, "model.conv_layers", self.model.conv_layers, need)
        only = f"none of it with data={self.data.name}, whose examples are no pictures"
        require(image or not self.model.augmentation.used, "model.augmentation", self.model.augmentation, only)
        stop = self.trainer.stop_at_accuracy
        has_accuracy = self.data.task != "regression"
        require(stop is None or has_accuracy, "trainer.stop_at_accuracy", stop, "null: a regression has no accuracy")


Schema = TypeVar("Schema", bound=RunConfig)


def compose(schema: type[Schema], primary: str, overrides: Sequence[str]) -> Schema:
    """Compose conf/`primary`.yaml with Hydra `overrides` and check it against `schema`: types first, then values.

    Hydra composes the groups, which takes most of the time and is cached; keys are set and typed here.

    Raises:
        ConfigError: for an unknown key or option, a wrong type, or a value out of range.
    """
    check_overrides(schema, overrides)
    parsed = [parse_override(text) for text in overrides]
    groups = [o for o in parsed if o.key_or_group in config_groups()]
    chosen = tuple(f"{o.key_or_group}={o.value()}" for o in groups)
    environment = frozenset(item for item in os.environ.items() if item[0].startswith("CONVSWEEP_"))
    tree = deepcopy(_composed(primary, chosen, environment))
    for override in parsed:
        if override not in groups:
            _apply(override, tree, schema)
    return cast(Schema, typed(schema, tree))


@lru_cache(maxsize=256)
def _composed(primary: str, groups: tuple[str, ...], environment: frozenset[tuple[str, str]]) -> dict[str, Any]:
    """conf/`primary`.yaml with these options of its groups, as plain values; they may name the `environment`."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra_compose(primary, list(groups))
        for path, text in _leaves(cast(Any, OmegaConf.to_container(config))):
            only = "a value, or an environment variable's as in ${oc.env:NAME,null}: conf/ has no other interpolation"
            require("${" not in str(text) or str(text).startswith("${oc.env:"), path, text, only)
        return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"conf/ cannot be composed ({' '.join(groups) or primary}): {_first_line(error)}") from error


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _apply(override: Override, tree: dict[str, Any], schema: Any) -> None:
    """Set, or delete, what an override names."""
    *sections, last = override.key_or_group.split(".")
    here, hint, at = tree, schema, ""
    for name in sections:
        hint, at = _within(hint, name), f"{at}.{name}".lstrip(".")
        below = here.setdefault(name, {})
        if not isinstance(below, dict):
            key = override.key_or_group
            raise ConfigError(f"{key} cannot be set: {at} is {shown(below)} here; give all of it, as in {at}={{...}}")
        here = below
    if override.is_delete():
        here.pop(last, None)
    else:
        here[last] = _merged(_within(hint, last), here.get(last), override.value())


def _merged(hint: Any, old: Any, new: Any) -> Any:
    """`new`, with a section's other keys from `old`; a mapping with free names is replaced, or it could only grow."""
    section = next((kind for kind in _kinds(hint) if dataclasses.is_dataclass(kind)), None)
    if section is None or not isinstance(new, dict) or not isinstance(old, dict):
        return new
    return old | {name: _merged(_within(section, name), old.get(name), value) for name, value in new.items()}


def compose_from(path: Path, overrides: Sequence[str]) -> RunConfig:
    """The run config in a file (`best.yaml`, or a run's `config.yaml`), with `overrides` of single keys over it.

    Where data and results are kept is this machine's, not the file's.

    Raises:
        ConfigError: if the file holds no run config, or for anything wrong in the overrides.
    """
    import yaml

    check_overrides(RunConfig, overrides)
    groups = config_groups()
    if grouped := [text for text in overrides if text.partition("=")[0].lstrip("+~") in groups]:
        raise ConfigError(f"{grouped[0]}: with --from, single keys can be overridden, groups cannot")
    try:
        require_regular(path)
        told = yaml.safe_load(path.read_text())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"--from {path} cannot be read: {error}") from error
    names = [item.name for item in dataclasses.fields(RunConfig)]
    if not isinstance(told, dict) or {*told, "checkpoints", "store"} != set(names):
        raise ConfigError(f"--from {path} holds no run config: its sections must be {', '.join(names)}")
    here = to_dict(compose(RunConfig, "train", []))
    told |= {key: here[key] for key in ("store", "checkpoints")}
    if isinstance(told["data"], dict):
        told["data"] |= {key: here["data"][key] for key in ("dir", "cache")}
    for text in overrides:
        _apply(parse_override(text), told, RunConfig)
    try:
        return cast(RunConfig, typed(RunConfig, told))
    except ConfigError as error:
        raise ConfigError(f"--from {path}: {error}") from error


@lru_cache(maxsize=20_000)
def parse_override(text: str, what: str = "an override: one is written key=value, as in model.filters=64") -> Override:
    """A word of the command line, parsed by Hydra's grammar.

    Raises:
        ConfigError: if it is not `what` is asked for, or uses of the grammar what has no meaning here.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    word = shown(text)
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"'{word}' is too long: an override has at most {MOST_CHARACTERS:,} characters")
    if not _is_text(text):
        raise ConfigError(f"{text!r:.200} is not {what}; it must be text without control characters")
    if "${" in text:
        raise ConfigError(f"{word}: ${{...}} has no meaning on the command line; write the value itself")
    try:
        override = OverridesParser.create().parse_override(text)
        override.value()
    except Exception as error:  # also what Python raises for numbers that it cannot make, or brackets too deep
        raise ConfigError(f"'{word}' is not {what}\n{shown(_first_line(error))}") from error
    if override.package is not None:
        raise ConfigError(f"{word}: @ has no meaning here; a group is chosen as in model=conv")
    return override


def check_overrides(schema: type, overrides: Sequence[str], swept: bool = False) -> None:
    """Refuse, before anything is composed, overrides that name no key of `schema` and no option of a group.

    Raises:
        ConfigError: naming the override, what is allowed and the nearest right name.
    """
    groups = config_groups()
    for text in overrides:
        override = parse_override(text)
        key = override.key_or_group
        if key.startswith("hydra"):
            raise ConfigError(f"{shown(text)}: no key of Hydra's is used, but for hydra.sweeper.KEY=... with train -m")
        check_keys(schema, [key])
        if override.is_delete():
            section = key.rpartition(".")[0]
            free = section and any(get_origin(kind) is dict for kind in _kinds(_hint(schema, section)))
            if not free:
                hint = "null stands for nothing where that is allowed"
                raise ConfigError(f"{shown(text)}: {key} must not be deleted; {hint}")
        elif override.is_sweep_override():
            if not swept:
                several = "names several values: here each key takes one. Lists are written"
                raise ConfigError(f"{shown(text)} {several} {key}=[1,2]")
        elif key in groups:
            require_one_of(key, override.value(), groups[key])


def check_keys(schema: type, keys: Sequence[str]) -> None:
    """Refuse keys that are not in `schema`.

    Raises:
        ConfigError: with the nearest right name and the keys of the section.
    """
    for key in keys:
        if _hint(schema, key) is None:
            raise ConfigError(_unknown_key(key, known_keys(schema)))


# -- types ------------------------------------------------------------------------------------------------------------


def typed(hint: Any, value: Any, key: str = "") -> Any:
    """`value` as the type `hint` says: sections become their dataclass, which checks its values. `key` is its name.

    Raises:
        ConfigError: for another type, an unknown or missing key, or a value that its dataclass refuses.
    """
    kinds = _kinds(hint)
    if value == "???":
        raise ConfigError(f"{key} has no value: it must be given")
    if hint is Any or (value is None and NoneType in kinds):
        return value
    kind = kinds[0]
    if dataclasses.is_dataclass(kind):
        return _section(kind, value, key)
    if value is None:
        raise ConfigError(f"{key}=null is not allowed: {key} must have a value")
    if get_origin(kind) is dict:
        names = isinstance(value, dict) and all(isinstance(name, str) and _is_text(name) and name for name in value)
        require(names, key, value, "a mapping of names to values, as in {a: 1}")
        return {name: typed(get_args(kind)[1], item, f"{key}.{name}") for name, item in value.items()}
    allowed = _in_words(kind) + (", or null" if NoneType in kinds else "")
    if get_origin(kind) is list:
        require(isinstance(value, list), key, value, allowed)
        (of,) = get_args(kind)
        if dataclasses.is_dataclass(of):
            return [_section(of, item, f"{key}[{place}]") for place, item in enumerate(value)]
        found = [_scalar(of, item) for item in value]
        require(None not in found, key, value, allowed)
        return found
    found = _scalar(kind, value)
    require(found is not None, key, value, allowed)
    return found


def _section(kind: Any, value: Any, key: str) -> Any:
    """The dataclass `kind` with these values; `key` is the section's name, empty for a whole config."""
    require(isinstance(value, dict), key, value, "a section with its keys")
    hints, at = _hints(kind), f"{key}." if key else ""
    for name in value:
        if name not in hints:
            raise ConfigError(_unknown_key(f"{at}{name}", [f"{at}{known}" for known in hints]))
    values = {name: typed(hints[name], item, f"{at}{name}") for name, item in value.items()}
    for item in dataclasses.fields(kind):
        is_needed = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if is_needed and item.name not in values:
            raise ConfigError(f"{at}{item.name} is missing: it must have a value")
    try:
        return kind(**values)
    except ConfigError:
        raise
    except Exception as error:  # whatever a check trips over in a user's words is a wrong word
        raise ConfigError(f"{key or 'this config'} is not possible: {_first_line(error)}") from error


def _scalar(kind: type, value: Any) -> Any:
    """`value` as a `kind`, from its text where it is one (environment variables are); None where it is none."""
    try:
        if kind is str:
            return str(value) if type(value) in (str, int, float) and _is_text(str(value)) else None
        if kind is bool:
            return {"true": True, "false": False}[str(value).lower()] if type(value) in (bool, str) else None
        number = kind(value) if type(value) in (str, int, *([float] if kind is float else [])) else None
    except (ValueError, OverflowError, KeyError):
        return None
    return number if number is not None and abs(number) <= LARGEST[kind] else None


def _is_text(value: str) -> bool:
    """Whether all characters can be shown: no control characters, no halves of characters; new lines are allowed."""
    return all(character.isprintable() or character == "\n" for character in value)


def _in_words(kind: Any) -> str:
    """What a value of this type is called."""
    if get_origin(kind) is list:
        words, example = {int: ("whole numbers", "[1,2]"), float: ("numbers", "[0.5,1]")}.get(
            get_args(kind)[0], ("texts", "[a,b]")
        )
        return f"a list of {words}, as in {example}"
    called = {int: "a whole number of at most 1e15", float: "a number of at most 1e30", bool: "true or false"}
    return called.get(kind, "text")


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The types that a hint allows, None's last: int | None is both."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _within(hint: Any, name: str) -> Any:
    """Type of what `name` is in something of the type `hint`; None where nothing is called so."""
    for kind in _kinds(hint):
        if dataclasses.is_dataclass(kind):
            return _hints(cast(Any, kind)).get(name)
        if get_origin(kind) is dict:
            return get_args(kind)[1]
        if kind is Any:
            return Any
    return None


def _hint(schema: Any, key: str) -> Any:
    """Type of what lies at a dotted `key`; None where there is no such key."""
    hint = schema
    for name in key.split("."):
        hint = _within(hint, name) if name else None
    return hint


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def known_keys(schema: type, prefix: str = "") -> list[str]:
    """All dotted keys of a dataclass `schema`, sections included."""
    found = []
    for name, hint in _hints(schema).items():
        found.append(prefix + name)
        for kind in _kinds(hint):
            if dataclasses.is_dataclass(kind):
                found += known_keys(cast(Any, kind), f"{prefix}{name}.")
    return found


@cache
def config_groups() -> dict[str, list[str]]:
    """Options of every config group: the YAML files of each folder of conf/, by folder."""
    return {d.name: sorted(f.stem for f in d.glob("*.yaml")) for d in sorted(CONF.iterdir()) if d.is_dir()}


def describe(group: str) -> dict[str, str]:
    """Description of every option of a config group, read from the files: `description`, or the first comment line."""
    found = {}
    for option in config_groups()[group]:
        text = (CONF / group / f"{option}.yaml").read_text()
        told = re.search(r"^\s*description:\s*[\"']?(.*?)[\"']?\s*$", text, re.MULTILINE)
        found[option] = told.group(1) if told else text.splitlines()[0].lstrip("# ")
    return found


def to_dict(config: object) -> dict[str, Any]:
    """A config dataclass as nested plain dictionaries."""
    return dataclasses.asdict(config)  # type: ignore[call-overload, no-any-return]


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _unknown_key(key: str, keys: list[str]) -> str:
    """What to say of `key`, which is none of `keys`: the nearest right name and the keys of its section."""
    section, _, last = key.rpartition(".")
    ends = {k.rpartition(".")[2]: k for k in reversed(keys)}
    near = did_you_mean(key, keys)
    if not near and (similar := difflib.get_close_matches(last, ends, n=1, cutoff=0.6)):
        near = f" (did you mean {ends[similar[0]]}?)"
    siblings = [k for k in keys if k.rpartition(".")[0] == section] or [k for k in keys if "." not in k]
    return f"{key} is not a config key{near}. Keys there: {', '.join(siblings)}"


def _first_line(error: BaseException) -> str:
    """The first line of what an exception says."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
