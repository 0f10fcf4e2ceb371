"""Which of tests/helpers/networks.py fit, and what is said of the others."""

from __future__ import annotations

GOOD = ("mixer", "sequential", "subclassed")
# Builder, words of its message; each also names the builder.
BAD = {
    "returns_nothing": "returns None; it must return a keras.Model. Is a return missing?",
    "returns_a_layer": "returns a Dense; it must return a keras.Model",
    "compiled": "returns a compiled model",
    "shared": "returns a network whose weights it has returned before",
    "of_half_precision": "has weights of float16; they must be of float32",
    "named_as_ours": 'The name "task" is used 2 times',
    "with_a_policy": "changes Keras's settings, float32, policy .*, channels_last to .* policy mixed_float16",
    "in_float64": "changes Keras's settings, .* to float64",
    "too_wide": r"output of shape \(None, 11\); this data needs \(None, 10\)",
    "not_flat": r"output of shape \(None, 8, 8, 10\)",
    "with_softmax": "ends in softmax; its last layer must be linear",
    "two_outputs": r"has a list as output; it must have a single tensor of shape \(None, 10\)",
    "of_another_shape": r"called on a batch of shape \(None, 8, 8, 1\), fails: ValueError",
    "raises": r"fails: ValueError: no such block\n  .*networks.py, line \d+, in raises: .*\n  it printed:\n  about",
    "raises_when_called": r"fails: .*\n(.*\n)*  .*networks.py, line \d+, in call: return x\[",
    "differs": "is not repeatable: two builds with one seed differ",
}
