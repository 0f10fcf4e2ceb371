"""Networks that a function of the user's own builds: `model.builder` with `model.args`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config.checks import ConfigError, shown
from pipeline.config.code import call, check_arguments, import_function
from pipeline.config.data import DataConfig
from pipeline.config.schema import ModelConfig
from pipeline.models.layers import Layer
from pipeline.models.tasks import TASKS

if TYPE_CHECKING:
    import keras

KEY = "model.builder"
BUILT = "_convsweep_built"  # marks the variables of networks that were built


def build_own(model: ModelConfig, data: DataConfig, augmentation: list[keras.Layer]) -> keras.Model:
    """Return the user's network behind the layers of `augmentation`, with the task's activation behind it.

    Raises:
        ConfigError: if it cannot be built, or is not what the data needs; with the user's own lines of the traceback.
    """
    import keras

    assert model.builder is not None
    function = import_function(KEY, model.builder)
    shape, settings = tuple(data.shape), _settings()
    check_arguments("model.args", function, ["input_shape", "outputs"], model.args)
    what = f"{KEY}={model.builder} with input_shape={shape}, outputs={data.outputs}{_written(model.args)}"
    net = call(what, function, shape, data.outputs, **model.args)
    if (now := _settings()) != settings:
        hint = "return the model alone; trainer.precision says in which precision is computed"
        raise ConfigError(f"{what} changes Keras's settings, {settings} to {now}: {hint}")
    _require_network(what, net)
    inputs = keras.Input(shape)
    x = inputs
    for layer in augmentation:
        x = layer(x)
    outputs = call(f"{what}: its network, called on a batch of shape {(None, *shape)},", net, x)
    _require_outputs(what, outputs, data.outputs, net)
    _require_new_weights(what, net)
    activated = keras.layers.Activation(TASKS[data.task].activation, dtype="float32", name="task")(outputs)
    whole: keras.Model = call(f"{what}: its network, put into ours,", keras.Model, inputs, activated, name=model.name)
    return whole


def _settings() -> str:
    """Return Keras's settings that decide how every layer computes."""
    from keras import config

    return f"{config.floatx()}, policy {config.dtype_policy().name}, {config.image_data_format()}"


def _written(args: dict[str, Any]) -> str:
    return "".join(f", {name}={shown(value)}" for name, value in args.items())


def _require_network(what: str, net: Any) -> None:
    """Raise ConfigError unless a builder returned a network that is not compiled."""
    import keras

    if not isinstance(net, keras.Model):
        missing = ". Is a return missing?" if net is None else ""
        raise ConfigError(f"{what} returns {_a(net)}; it must return a keras.Model{missing}")
    if net.compiled:
        raise ConfigError(
            f"{what} returns a compiled model; return it as it is: `optimizer` and `data.task` say how it is trained"
        )


def _require_outputs(what: str, outputs: Any, units: int, net: keras.Model) -> None:
    """Raise ConfigError unless a network has one output of so many linear units."""
    import keras

    if not isinstance(outputs, keras.KerasTensor):
        raise ConfigError(f"{what} has {_a(outputs)} as output; it must have a single tensor of shape (None, {units})")
    if tuple(outputs.shape) != (None, units):
        raise ConfigError(f"{what} has an output of shape {tuple(outputs.shape)}; this data needs (None, {units})")
    last = getattr((getattr(net, "outputs", None) or [None])[0], "_keras_history", None)
    activation = getattr(getattr(last and last.operation, "activation", None), "__name__", "linear")
    if activation != "linear":
        raise ConfigError(f"{what} ends in {activation}; its last layer must be linear: the task adds the activation")


def _require_new_weights(what: str, net: keras.Model) -> None:
    """Raise ConfigError if a network has weights of one built before, which may be trained, or of another type."""
    for variable in net.variables:
        if hasattr(variable, BUILT):
            hint = "build model and layers anew in each call, not once in the module"
            raise ConfigError(f"{what} returns a network whose weights it has returned before: {hint}")
        setattr(variable, BUILT, True)
    kinds = {variable.dtype for variable in net.trainable_variables} - {"float32"}
    if kinds:
        hint = "trainer.precision says in which precision is computed"
        raise ConfigError(f"{what} has weights of {', '.join(sorted(kinds))}; they must be of float32: {hint}")


def _a(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def layers_of(net: keras.Model) -> list[Layer]:
    """Return what a table shows of a Keras model: its innermost layers, in order."""
    return [
        Layer(
            layer.name,
            type(layer).__name__,
            {},
            _output_shape(layer),
            sum(np.prod(v.shape, dtype=int) for v in layer.weights),
        )
        for layer in innermost(net)
    ]


def has_own_code(net: keras.Model) -> bool:
    """Return whether a model has layers that are not Keras's, or code in them, which a file does not hold."""
    import keras

    parts = [net, *net._flatten_layers(include_self=False)]
    modules = {type(part).__module__.partition(".")[0] for part in parts}
    return modules != {"keras"} or any(isinstance(part, keras.layers.Lambda) for part in parts)


def innermost(net: keras.Model) -> Iterator[Any]:
    """Yield a model's layers in order, those of a model inside it instead of that."""
    import keras

    for layer in net.layers:
        if isinstance(layer, keras.Model) and layer.layers:
            yield from innermost(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            yield layer


def _output_shape(layer: Any) -> tuple[int, ...]:
    """Return a layer's output shape without the batch axis; empty where Keras knows none, or several."""
    try:
        return tuple(layer.output.shape[1:])
    except (AttributeError, ValueError):
        return ()
