"""Schemas of one run, their checks, and composing them from conf/ and the command line's overrides."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from pipeline.addresses import DATABASES, SERVERS, is_address, shown, sqlite_file, sqlite_url

if TYPE_CHECKING:
    from omegaconf import DictConfig

CONF = Path(__file__).resolve().parent.parent / "conf"

ACTIVATIONS = ("relu", "elu", "gelu", "selu", "silu", "tanh", "sigmoid", "linear")
MOST_THREADS = 1024
PRECISIONS = ("auto", "float32", "mixed_bfloat16")
SHUFFLES = ("epoch", "once", "none")


class ConfigError(ValueError):
    """A config that cannot be run. The message says what was wrong, what is allowed and what to do."""


def require(ok: bool, key: str, value: object, allowed: str) -> None:
    """Raise ConfigError naming `key`, its `value` and what is `allowed`, unless `ok`."""
    if not ok:
        shown = "null" if value is None else value
        raise ConfigError(f"{key}={shown} is not allowed: {key} must be {allowed}")


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


@dataclass
class PointsConfig:
    """A data set so small that it stands in its config: x and y of training and test."""

    train_x: list[float]
    train_y: list[float]
    test_x: list[float]
    test_y: list[float]


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
        require(all(side >= 1 for side in self.shape), "data.shape", self.shape, "sizes from 1")
        require(0 < self.scale < float("inf"), "data.scale", self.scale, "a number above 0")
        needed = {"idx": self.files, "points": self.points}
        for kind, where in (("idx", "files"), ("points", "points")):
            has = self.format != kind or needed[kind] is not None
            require(has, f"data.{where}", None, f"given with data.format={kind}")
        require(self.timeout > 0, "data.timeout", self.timeout, "seconds, above 0")
        self._check_places()
        require(
            self.limit is None or self.limit >= 1, "data.limit", self.limit, "a whole number from 1, or null for all"
        )
        require(0 <= self.val_fraction < 1, "data.val_fraction", self.val_fraction, "from 0 up to but not including 1")
        require(0 < self.train_fraction <= 1, "data.train_fraction", self.train_fraction, "above 0 and up to 1")

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
        for key in ("kernel_size", "stride", "pool_size"):
            require(getattr(self, key) >= 1, f"model.{key}", getattr(self, key), "a whole number from 1")
        require(self.conv_layers >= 0, "model.conv_layers", self.conv_layers, "a whole number from 0")
        require_one_of("model.padding", self.padding, ("valid", "same"))
        require_one_of("model.pool", self.pool, ("each", "inner", "last", "none"))
        require(0 <= self.dropout < 1, "model.dropout", self.dropout, "from 0 up to but not including 1")
        require_one_of("model.dropout_after", self.dropout_after, ("each", "inner"))
        for units in self.dense_units:
            whole = isinstance(units, int) and not isinstance(units, bool)
            require(whole and units >= 1, "model.dense_units", self.dense_units, "whole numbers from 1, as in [128]")
        require_one_of("model.activation", self.activation, ACTIVATIONS)
        for key in ("l1", "l2"):
            value = getattr(self, key)
            require(0 <= value < float("inf"), f"model.{key}", value, "a number from 0")
        self._check_filters()

    def _check_filters(self) -> None:
        if self.filters is None and self.conv_layers == 0:
            return
        numbers = self.filters if isinstance(self.filters, list) else [self.filters]
        whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in numbers) and numbers
        allowed = "a whole number from 1, or a list of them with one per convolution, as in [32,64]"
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
        finite = 0 < self.learning_rate < float("inf")
        require(finite, "optimizer.learning_rate", self.learning_rate, "a number above 0")
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
        for key in ("epochs", "batch_size", "train_eval_size", "eval_batch_size"):
            require(getattr(self, key) >= 1, f"trainer.{key}", getattr(self, key), "a whole number from 1")
        for key in ("steps_per_epoch", "threads", "steps_per_execution"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"trainer.{key}", value, "a whole number from 1, or null")
        fits = self.threads is None or self.threads <= MOST_THREADS
        require(fits, "trainer.threads", self.threads, f"at most {MOST_THREADS}")
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
    patience: float
    log_model: str
    ui_port: int

    def __post_init__(self) -> None:
        """Check ranges; raise ConfigError."""
        require_one_of("store.log_model", self.log_model, ("none", "best", "all"))
        require(1 <= self.ui_port <= 65535, "store.ui_port", self.ui_port, "a port, from 1 to 65535")
        require(bool(self.root.strip()), "store.root", self.root, "a folder")
        require(self.patience > 0, "store.patience", self.patience, "seconds, above 0")
        example = "null, or an address as in sqlite:////home/me/{0}.db, postgresql://me@host/{0}"
        uri, url = self.tracking_uri, self.optuna_url
        allowed = example.format("mlflow") + " or http://host:5000"
        require(uri is None or is_address(uri, (*SERVERS, *DATABASES)), "store.tracking_uri", uri, allowed)
        allowed = example.format("optuna")
        require(url is None or is_address(url, DATABASES), "store.optuna_url", url, allowed)
        if uri or url:
            apart = shown(self.mlflow_uri) != shown(self.optuna_uri)
            allowed = "another database than MLflow's: the two break each other"
            require(apart, "store.optuna_url", shown(self.optuna_uri), allowed)

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

    keep: float

    def __post_init__(self) -> None:
        """Check ranges; raise ConfigError."""
        require(0 <= self.keep < float("inf"), "checkpoints.keep", self.keep, "GiB, from 0")


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
        require(0 <= self.seed < 2**31, "seed", self.seed, "a whole number from 0 to 2147483647")
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
    """Compose conf/`primary`.yaml with Hydra `overrides` and check it against `schema`.

    Raises:
        ConfigError: for an unknown key or option, a wrong type, or a value out of range.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    check_overrides(schema, overrides)
    # Hydra applies keys after groups, in order. Composing the groups takes most of the time, and a sweep does it again
    # and again: it is kept, and keys are applied to a copy.
    parsed = [OverridesParser.create().parse_override(text) for text in overrides]
    keys = [o for o in parsed if o.type == OverrideType.CHANGE and not o.key_or_group.startswith("hydra")]
    keys = [o for o in keys if o.key_or_group not in config_groups()]
    try:
        composed = deepcopy(
            _composed(cast(Any, schema), primary, tuple(str(o.input_line) for o in parsed if o not in keys))
        )
        OmegaConf.set_struct(composed, False)  # keys are checked already; mappings such as study.objectives may grow
        for override in keys:
            value, key = override.value(), override.key_or_group
            if isinstance(value, dict) and OmegaConf.get_type(OmegaConf.select(composed, key)) is dict:
                # A mapping with free names, given as a whole, replaces the file's: merged, it could take nothing away.
                OmegaConf.update(composed, key, {}, merge=False)
            OmegaConf.update(composed, key, value, merge=True)
        config = OmegaConf.to_object(composed)
    except (OmegaConfBaseException, HydraException) as error:
        raise ConfigError(_explain(schema, error)) from error
    assert isinstance(config, schema)
    return config


@lru_cache(maxsize=64)
def _composed(schema: type, primary: str, overrides: tuple[str, ...]) -> DictConfig:
    """conf/`primary`.yaml with these overrides, typed by `schema`."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(CONF), version_base="1.3"):
        merged = OmegaConf.merge(OmegaConf.structured(schema), hydra_compose(primary, list(overrides)))
    return cast("DictConfig", merged)


def compose_from(path: Path, overrides: Sequence[str]) -> RunConfig:
    """The run config in a file (`best.yaml`, or a run's `config.yaml`), with `overrides` of single keys over it.

    Where data and results are kept is this machine's, not the file's.

    Raises:
        ConfigError: if the file holds no run config, or for anything wrong in the overrides.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    check_overrides(RunConfig, overrides)
    groups = config_groups()
    if grouped := [text for text in overrides if text.partition("=")[0].lstrip("+~") in groups]:
        raise ConfigError(f"{grouped[0]}: with --from, single keys can be overridden, groups cannot")
    try:
        told = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"--from {path} cannot be read: {error}") from error
    names = [item.name for item in dataclasses.fields(RunConfig)]
    if not isinstance(told, dict) or {*told, "checkpoints", "store"} != set(names):
        raise ConfigError(f"--from {path} holds no run config: its sections must be {', '.join(names)}")
    here = to_dict(compose(RunConfig, "train", []))
    told |= {key: here[key] for key in ("store", "checkpoints")}
    told["data"] |= {key: here["data"][key] for key in ("dir", "cache")} if isinstance(told["data"], dict) else {}
    try:
        merged = OmegaConf.merge(OmegaConf.structured(RunConfig), told, OmegaConf.from_dotlist(list(overrides)))
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(f"--from {path}: {_explain(RunConfig, error)}") from error
    assert isinstance(config, RunConfig)
    return config


def check_overrides(schema: type, overrides: Sequence[str], swept: bool = False) -> None:
    """Refuse, before anything is composed, overrides that name no key of `schema` and no option of a group.

    Raises:
        ConfigError: naming the override, what is allowed and the nearest right name.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    groups = config_groups()
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException as error:
            hint = "an override is written key=value, as in model.filters=64"
            raise ConfigError(f"'{text}' is not an override: {hint}\n{str(error).strip()}") from error
        key = override.key_or_group
        if override.is_sweep_override():
            if swept:
                check_keys(schema, [key])
                continue
            raise ConfigError(f"{text} names several values: here each key takes one. Lists are written {key}=[1,2]")
        if key in groups and not override.is_delete():
            require_one_of(key, override.value(), groups[key])
        elif not key.startswith("hydra."):
            check_keys(schema, [key])


def check_keys(schema: type, keys: Sequence[str]) -> None:
    """Refuse keys that are neither in `schema` nor config groups.

    Raises:
        ConfigError: with the nearest right name and the keys of the section.
    """
    known = known_keys(schema)
    for key in keys:
        if key not in known and key not in config_groups() and not _is_in_mapping(key, schema):
            raise ConfigError(_unknown_key(key, known))


@cache
def known_keys(schema: type, prefix: str = "") -> list[str]:
    """All dotted keys of a dataclass `schema`, sections included."""
    found = []
    hints = get_type_hints(schema)
    for item in dataclasses.fields(schema):
        key = prefix + item.name
        found.append(key)
        hint = hints[item.name]
        free = any(get_origin(kind) in (dict, list) for kind in (hint, *get_args(hint)))
        kinds = () if free else (hint, *get_args(hint))
        nested = next((kind for kind in kinds if dataclasses.is_dataclass(kind)), None)
        if isinstance(nested, type):
            found += known_keys(nested, key + ".")
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


def _is_in_mapping(key: str, schema: Any) -> bool:
    """Whether a key lies inside a mapping with free names, as ablation.trials.conv_16.tick; the rest comes later."""
    first, _, rest = key.partition(".")
    for item in dataclasses.fields(schema) if rest else ():
        if item.name == first:
            kinds = [get_type_hints(schema)[first], *get_args(get_type_hints(schema)[first])]
            if any(get_origin(kind) is dict for kind in kinds):
                return True
            return any(dataclasses.is_dataclass(kind) and _is_in_mapping(rest, kind) for kind in kinds)
    return False


_KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def _unknown_key(key: str, keys: list[str]) -> str:
    """What to say of `key`, which is none of `keys`: the nearest right name and the keys of its section."""
    section, _, last = key.rpartition(".")
    ends = {k.rpartition(".")[2]: k for k in reversed(keys)}
    near = did_you_mean(key, keys)
    if not near and (similar := difflib.get_close_matches(last, ends, n=1, cutoff=0.6)):
        near = f" (did you mean {ends[similar[0]]}?)"
    siblings = [k for k in keys if k.rpartition(".")[0] == section] or [k for k in keys if "." not in k]
    return f"{key} is not a config key{near}. Keys there: {', '.join(siblings)}"


def _explain(schema: type, error: BaseException) -> str:
    """What Hydra or OmegaConf refused, in one line: the key, the value, what is allowed."""
    while not str(error).strip() and error.__cause__:
        error = error.__cause__
    key = getattr(error, "full_key", None)
    reason = str(getattr(error, "msg", None) or error).strip().splitlines()[0]
    if key and key not in known_keys(schema) and " not in " in reason:
        return _unknown_key(key, known_keys(schema))
    if told := re.match(r"Value '(.*)' of type '.*' could not be converted to (\w+)", reason):
        return f"{key}={told[1]} is not allowed: {key} must be {_KINDS.get(told[2], told[2])}"
    if told := re.match(r"Value '(.*)' is not a valid bool", reason):
        return f"{key}={told[1]} is not allowed: {key} must be true or false"
    if "is not a ListConfig" in reason:
        return f"{key} must be a list, written {key}=[1,2]"
    if "is not Optional" in reason or "Incompatible value 'None'" in reason:
        return f"{key}=null is not allowed: {key} must have a value"
    if "missing mandatory value" in reason:
        return f"{key} has no value: it must not be deleted"
    return f"{key}: {reason}" if key else reason
